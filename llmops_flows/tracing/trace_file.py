"""The SQLite file of the trace store: its tables, its connection, and its checkpoints."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from llmops_flows.artifacts.disk_errors import with_disk_hint
from llmops_flows.core.errors import StoreError
from llmops_flows.stores.sqlite_transaction import close_with, transaction

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    seq INTEGER PRIMARY KEY, run TEXT NOT NULL UNIQUE, flow TEXT NOT NULL, started REAL NOT NULL,
    records INTEGER NOT NULL, seconds REAL, interrupted INTEGER, config TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS traces (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, run TEXT NOT NULL, written REAL NOT NULL, data BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS traces_of_run ON traces (run);
CREATE TABLE IF NOT EXISTS contents (address TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (
    exporter TEXT NOT NULL, id TEXT NOT NULL, shipped REAL, PRIMARY KEY (exporter, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS deliveries_pending ON deliveries (exporter) WHERE shipped IS NULL;
"""
_TABLES = 4
_BUSY_SECONDS = 20.0
_MAX_PARAMETERS = 500
_CHECKPOINT_EVERY = 500
"""Transactions between two checkpoints of the write-ahead log."""


class TraceFile:
    """One connection to the file at `path` for all threads of a process, opened on first use and again after a fork.

    Raises:
        StoreError: the file can be neither read nor written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._writes = 0

    def rows(self, query: str, *parameters: Any) -> list[Any]:
        """The rows that a query returns."""
        with self._lock, self._store_errors():
            return self._open().execute(query, parameters).fetchall()

    def rows_in(self, query: str, values: Sequence[str]) -> Iterator[Any]:
        """The rows of a query that ends with `IN`, for any number of values."""
        for start in range(0, len(values), _MAX_PARAMETERS):
            part = values[start : start + _MAX_PARAMETERS]
            yield from self.rows(f"{query} ({','.join('?' * len(part))})", *part)

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in one transaction."""
        with self._lock, self._store_errors():
            result = transaction(self._open(), work)
        self._writes += 1
        if self._writes % _CHECKPOINT_EVERY == 0:
            # In a thread: a checkpoint waits for the disk.
            threading.Thread(target=_checkpoint, args=(self.path,), name="llmops-flows-traces", daemon=True).start()
        return result

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._close_connection()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None or self._pid != os.getpid():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection, self._pid = connect(self.path), os.getpid()
            self._close_connection = close_with(self, self._connection)
        return self._connection

    @contextmanager
    def _store_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"the trace store {str(self.path)!r} failed: {with_disk_hint(error)}") from error


def connect(path: Path) -> sqlite3.Connection:
    """Open the file, and create it and its tables if they do not exist. Only `TraceFile` runs checkpoints."""
    db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA secure_delete = ON")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        names = "('runs', 'traces', 'contents', 'deliveries')"
        count = db.execute(f"SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN {names}").fetchone()
        if count != (_TABLES,):
            db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
    except BaseException:
        db.close()
        raise
    return db


def holds_traces(path: Path) -> bool:
    """Whether a file is a trace store. Opens the file read-only, since it may belong to another program."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'traces_of_run'").fetchone() is not None
    except sqlite3.Error:
        return False


def _checkpoint(path: Path) -> None:
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS)) as db:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)")
    except sqlite3.Error:
        return  # the next checkpoint writes the log back
