"""`store=memory`: answers that are kept until the process ends."""

from __future__ import annotations

from llmops_flows.core.store import Store
from llmops_flows.stores.settings import StoreConfig


class Memory(StoreConfig):
    """Kept until the process ends."""

    @property
    def place(self) -> str:
        return "memory: nothing outlives its process"

    def open(self) -> Store:
        from llmops_flows.stores.memory import MemoryStore

        return MemoryStore()
