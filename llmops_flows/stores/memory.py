"""The store in memory, among the stores that a config names. It lives in core, where test suites reach it too."""

from llmops_flows.core.memory import MemoryStore

__all__ = ["MemoryStore"]
