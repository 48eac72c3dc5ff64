"""Fixtures: SmolLM2, in this process and behind a server on loopback."""

from tests.support.llama import llama, llama_key, smollm2_file

__all__ = ["llama", "llama_key", "smollm2_file"]
