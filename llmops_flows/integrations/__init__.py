"""Bridges to other frameworks: LangChain, LlamaIndex, guardrails-ai, TruLens, LangSmith, OpenTelemetry, Optuna."""
