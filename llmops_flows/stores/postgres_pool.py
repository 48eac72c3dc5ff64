"""Connections to a PostgreSQL database, for all threads of a process: through forks, and when one is lost."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from llmops_flows.core.errors import StoreError
from llmops_flows.core.redaction import redact

from .server_store import import_client, server_url

if TYPE_CHECKING:
    from .store_config import ServerStoreConfig

T = TypeVar("T")


class PostgresPool:
    """Connections for the threads of this process: one that is free is used again.

    Args:
        config: which server.
        tables: SQL that makes the tables, where one of those that it `needs` is not there yet.

    Raises:
        ConfigError: the environment has no URL.
        MissingExtra: psycopg is not installed.
    """

    def __init__(self, config: ServerStoreConfig, tables: str, *, needs: Sequence[str]) -> None:
        self._psycopg = import_client("psycopg", config.extra, "store=postgres")
        self._config = config
        self._url = server_url(config.url_env, "postgresql://user:password@host/database")
        self._tables, self._needs = tables, needs
        self._lock = threading.Lock()
        self._free: list[Any] = []
        self._prepared = False
        self._pid = os.getpid()
        self._inherited: list[Any] = []

    def do(self, work: Callable[[Any], T]) -> T:
        """Do work with a cursor in one transaction; once more where the connection was lost, or locks crossed."""
        psycopg = self._psycopg
        for again in (True, False):
            try:
                with (
                    self._connection() as connection,
                    connection.transaction(),
                    connection.cursor(binary=True) as cursor,
                ):
                    return work(cursor)
            except psycopg.Error as error:
                if again and isinstance(error, psycopg.OperationalError) and self._another(error):
                    continue
                raise self._told(error) from error
        raise AssertionError("unreachable")

    def close(self) -> None:
        with self._lock:
            self._leave_inherited()
            free, self._free = self._free, []
        for connection in free:
            connection.close()

    def _told(self, error: Exception) -> StoreError:
        return StoreError(redact(f"the store postgres ({self._config.url_env}) failed: {error}".strip()))

    def _another(self, error: Exception) -> bool:
        """Whether another attempt may help: not after a time limit."""
        if isinstance(error, self._psycopg.errors.QueryCanceled):
            return False
        self.close()  # the others that were idle are as dead as this one
        return True

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        with self._lock:
            self._leave_inherited()
            connection = self._free.pop() if self._free else None
        if connection is None:
            connection = self._open()
        try:
            yield connection
        finally:
            if connection.closed or connection.broken:
                connection.close()
            else:
                with self._lock:
                    self._free.append(connection)

    def _open(self) -> Any:
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
            raise self._told(error) from error  # to be told at once, and not after a second attempt
        with self._lock:
            if not self._prepared:
                self._prepare(connection)
                self._prepared = True
        return connection

    def _leave_inherited(self) -> None:
        """Connections that were inherited by a fork belong to the parent: closing them would end its own."""
        if self._pid != os.getpid():
            self._inherited += self._free
            self._free, self._pid = [], os.getpid()

    def _prepare(self, connection: Any) -> None:
        """Make the tables, once for all who come at once; a user who may not make any uses those there are."""
        there = "SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest(%s::text[]) AS needed (name)"
        if connection.execute(there, (list(self._needs),)).fetchone()[0]:
            return
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('llmops_flows tables', 0))")
            connection.execute(self._tables)
