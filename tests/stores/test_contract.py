"""The shipped stores and ledgers satisfy their contracts."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_flows.calls.budget_account import Ledger
from llmops_flows.core.store import Store
from llmops_flows.engine.answers.resilient_store import ResilientStore
from llmops_flows.stores.memory_store import MemoryLedger, MemoryStore
from llmops_flows.stores.sqlite_store import SQLiteStore
from llmops_flows.testing.fakes import FailingStore
from llmops_flows.testing.ledgers import LedgerContract
from llmops_flows.testing.stores import MaintainedStoreContract, StoreContract


class TestMemoryStore(MaintainedStoreContract):
    def store(self) -> Store:
        return MemoryStore()


class TestMemoryLedger(LedgerContract):
    def ledger(self) -> Ledger:
        return MemoryLedger()


class TestSQLiteLedger(LedgerContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "deep" / "store.sqlite"

    def ledger(self) -> Ledger:
        return SQLiteStore(self.path)

    def another_handle(self, ledger: Ledger) -> Ledger:
        return SQLiteStore(self.path)


class TestSQLiteStore(MaintainedStoreContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "deep" / "store.sqlite"

    def store(self) -> Store:
        return SQLiteStore(self.path)

    def another_handle(self, store: Store) -> Store:
        return SQLiteStore(self.path)


class TestResilientStore(StoreContract):
    def store(self) -> Store:
        return ResilientStore(FailingStore(MemoryStore()), lambda topic, text: None)
