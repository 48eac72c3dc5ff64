"""Stores as components: what a config names, opened when a run begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmops_flows.core.stage import Part
from llmops_flows.core.store import Store


class StoreConfig(Part):
    """Where answers are kept. A store decides no answer: it is part of no identity."""

    def fingerprint(self, *, whole: bool = False) -> dict[str, Any]:
        return {"class": type(self).__qualname__, **(self.model_dump(mode="json") if whole else {})}

    def open(self) -> Store:
        """The store, ready for use by many threads and processes."""
        raise TypeError(f"{type(self).__name__} does not say how it is opened")


class SQLite(StoreConfig):
    """One SQLite file, shared by all processes of this machine."""

    path: Path

    def open(self) -> Store:
        from .sqlite import SQLiteStore

        return SQLiteStore(self.path)


class Memory(StoreConfig):
    """Kept until the process ends."""

    def open(self) -> Store:
        from .memory import MemoryStore

        return MemoryStore()
