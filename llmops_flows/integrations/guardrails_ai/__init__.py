"""guardrails-ai: its validators in guardrail stages, and the shipped validators in its `Guard`."""
