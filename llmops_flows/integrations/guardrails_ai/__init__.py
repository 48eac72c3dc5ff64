"""guardrails-ai: its validators in our guardrails, and ours registered for its users."""
