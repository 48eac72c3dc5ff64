"""Guardrail components: `guardrail=NAME`."""
