"""Text analysis without frameworks: words, overlap, personal data, prompt injection, validators."""
