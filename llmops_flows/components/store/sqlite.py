"""Stores as components: what a config names, opened when a run begins."""

from __future__ import annotations

from pathlib import Path

from llmops_flows.core.store import Store
from llmops_flows.stores.salvage import misplaced
from llmops_flows.stores.settings import StoreConfig


class SQLite(StoreConfig):
    """One SQLite file, shared by all processes of this machine."""

    path: Path

    def problems(self) -> list[str]:
        return misplaced(self.path)

    @property
    def place(self) -> str:
        return f"sqlite {self.path}"

    @property
    def begun(self) -> bool:
        return self.path.exists()

    def open(self) -> Store:
        from llmops_flows.stores.sqlite import SQLiteStore

        return SQLiteStore(self.path)
