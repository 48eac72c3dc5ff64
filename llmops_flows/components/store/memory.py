"""`store=memory`: answers are stored until the process ends."""

from __future__ import annotations

from llmops_flows.core.store import Store
from llmops_flows.stores.store_config import StoreConfig


class Memory(StoreConfig):
    """Stores answers until the process ends."""

    @property
    def location(self) -> str:
        return "memory, until the process ends"

    def open(self) -> Store:
        from llmops_flows.stores.memory_store import MemoryStore

        return MemoryStore()
