"""Analysis of text without frameworks: tokens, overlap, personal data, prompt injection, validators."""
