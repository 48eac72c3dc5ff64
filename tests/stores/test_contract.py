"""The shipped stores keep the contract of stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_flows.core.store import Store
from llmops_flows.core.unfailing import Unfailing
from llmops_flows.stores.memory import MemoryStore
from llmops_flows.stores.sqlite import SQLiteStore
from llmops_flows.testing.fakes import FailingStore
from llmops_flows.testing.stores import StoreContract, TendedContract


class TestMemoryStore(TendedContract):
    def store(self) -> Store:
        return MemoryStore()


class TestSQLiteStore(TendedContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "deep" / "store.sqlite"

    def store(self) -> Store:
        return SQLiteStore(self.path)

    def again(self, store: Store) -> Store:
        return SQLiteStore(self.path)


class TestUnfailing(StoreContract):
    def store(self) -> Store:
        return Unfailing(FailingStore(MemoryStore()), lambda topic, text: None)
