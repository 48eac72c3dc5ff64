"""`store=postgres`: answers in a PostgreSQL database that many machines share."""

from __future__ import annotations

from typing import ClassVar

from llmops_flows.core.store import Store
from llmops_flows.stores.store_config import ServerStoreConfig


class Postgres(ServerStoreConfig):
    """A PostgreSQL database, version 12 or newer. Its tables are created on first use."""

    requires: ClassVar[tuple[str, ...]] = ("psycopg",)
    extra: ClassVar[str] = "postgres"

    def open(self) -> Store:
        from llmops_flows.stores.postgres_store import PostgresStore

        return PostgresStore(self)
