"""Connections to a PostgreSQL database for all threads of a process, which survive forks and lost connections."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.core.errors import StoreError
from llmops_flows.core.redaction import redact

from .server_store import server_url
from .store_config import ServerStoreConfig

T = TypeVar("T")


class PostgresPool:
    """Opens a connection for each concurrent transaction, and reuses idle connections.

    `docs/decisions/plumbing.md` explains why this is not `psycopg_pool`.

    Args:
        config: the server.
        schema: SQL that creates the tables.
        tables: if one of these does not exist, `schema` runs.

    Raises:
        ConfigError: the environment has no URL.
        MissingExtra: psycopg is not installed.
    """

    def __init__(self, config: ServerStoreConfig, schema: str, *, tables: Sequence[str]) -> None:
        self._psycopg = load("psycopg", config.extra, "store=postgres")
        self._config = config
        self._url = server_url(config.url_env, "postgresql://user:password@host/database")
        self._schema, self._tables = schema, list(tables)
        self._lock = threading.Lock()
        self._idle: list[Any] = []
        self._schema_ready = False
        self._pid = os.getpid()
        self._inherited: list[Any] = []

    def run(self, work: Callable[[Any], T]) -> T:
        """The result of `work` with a cursor in one transaction, retried once after a lost connection or a deadlock.

        Raises:
            StoreError: the server cannot be reached, or rejects the operation.
        """
        try:
            return self._run_once(work)
        except self._psycopg.OperationalError as error:
            if isinstance(error, self._psycopg.errors.QueryCanceled):  # the time limit was reached
                raise self._store_error(error) from error
            self.close()  # the idle connections are probably lost too
        except self._psycopg.Error as error:
            raise self._store_error(error) from error
        try:
            return self._run_once(work)
        except self._psycopg.Error as error:
            raise self._store_error(error) from error

    def close(self) -> None:
        with self._lock:
            self._drop_inherited()
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _run_once(self, work: Callable[[Any], T]) -> T:
        with self._connection() as connection, connection.transaction(), connection.cursor(binary=True) as cursor:
            return work(cursor)

    def _store_error(self, error: Exception) -> StoreError:
        return StoreError(redact(f"the store postgres ({self._config.url_env}) failed: {error}".strip()))

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        with self._lock:
            self._drop_inherited()
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = self._connect()
        try:
            yield connection
        finally:
            if connection.closed or connection.broken:
                connection.close()
            else:
                with self._lock:
                    self._idle.append(connection)

    def _connect(self) -> Any:
        seconds = self._config.timeout
        try:
            connection = self._psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=max(2, round(seconds)),
                options=f"-c statement_timeout={int(seconds * 1000)} -c client_min_messages=warning",
                application_name="llmops_flows",
                keepalives_idle=30,
                tcp_user_timeout=int(seconds * 2000),
            )
        except self._psycopg.Error as error:
            raise self._store_error(error) from error  # not retried: the server cannot be reached
        with self._lock:
            if not self._schema_ready:
                self._create_tables(connection)
                self._schema_ready = True
        return connection

    def _drop_inherited(self) -> None:
        """Set aside connections that were inherited through a fork: closing them would end the parent's."""
        if self._pid != os.getpid():
            self._inherited += self._idle
            self._idle, self._pid = [], os.getpid()

    def _create_tables(self, connection: Any) -> None:
        """Create missing tables, one process at a time. Users without the right to create tables use existing ones."""
        query = "SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest(%s::text[]) AS needed (name)"
        if connection.execute(query, (self._tables,)).fetchone()[0]:
            return
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('llmops_flows tables', 0))")
            connection.execute(self._schema)
