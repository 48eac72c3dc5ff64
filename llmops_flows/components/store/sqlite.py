"""`store=sqlite`: answers in a SQLite file of this machine."""

from __future__ import annotations

from pathlib import Path

from llmops_flows.core.store import Store
from llmops_flows.stores.sqlite_repair import path_problems
from llmops_flows.stores.store_config import StoreConfig


class SQLite(StoreConfig):
    """One SQLite file, shared by all processes of this machine."""

    path: Path

    def problems(self) -> list[str]:
        return path_problems(self.path)

    @property
    def location(self) -> str:
        return f"sqlite {self.path}"

    @property
    def may_hold_entries(self) -> bool:
        return self.path.exists()

    def open(self) -> Store:
        from llmops_flows.stores.sqlite_store import SQLiteStore

        return SQLiteStore(self.path)
