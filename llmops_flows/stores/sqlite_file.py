"""The file of the SQLite store: one connection for all threads, which survives forks, damage and replaced files."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from llmops_flows.artifacts.disk_errors import with_disk_hint
from llmops_flows.artifacts.file_locks import locked
from llmops_flows.core.errors import StoreError

from .seal import sealing_key
from .sqlite_repair import insert_rows, move_aside, readable_rows
from .sqlite_schema import ACCOUNTS, TABLES, connect, connect_read_only, is_corruption, is_read_only_error
from .sqlite_transaction import close_with, transaction

T = TypeVar("T")
log = logging.getLogger("llmops_flows.store")


class SQLiteFile:
    """The file at `path`, opened when first needed. `key` seals its rows.

    Raises:
        StoreError: for every error of SQLite or the operating system.

    Args:
        path: the file.
        counters: `counters["replaced"]` counts how often a damaged file was replaced.
    """

    def __init__(self, path: Path, counters: Counter[str]) -> None:
        self.path = path
        self.counters = counters
        self.read_only = False
        self.key = b""
        self._read_only_reason = ""
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file_id: tuple[int, int] | None = None
        self._pid = 0
        _files.add(self)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for reading; one thread at a time."""
        with self._lock:
            try:
                yield self._open()
            except _ERRORS as error:
                raise self._store_error(error) from error

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in one transaction."""
        with self._lock:
            try:
                if self.read_only:
                    self._disconnect()  # the file may have become writable
                db = self._open()
                if self.read_only:
                    raise OSError(f"the file is read-only{self._read_only_reason}")
                return transaction(db, work)
            except _ERRORS as error:
                raise self._store_error(error) from error

    def compact(self) -> None:
        """Return the space of removed rows to the operating system, unless another process is writing."""
        with self._lock:
            try:
                db = self._open()
                if self.read_only:
                    return
                [(free,)], [(pages,)] = (db.execute(f"PRAGMA {name}").fetchall() for name in _PAGES)
                if free * 4 > pages:
                    db.execute("VACUUM")
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except _ERRORS as error:
                if isinstance(error, sqlite3.Error) and is_corruption(error):
                    raise self._store_error(error) from error
                log.info("the space of evicted rows is reused, but not yet returned to the disk: %s", error)

    def repair(self) -> tuple[Path, int] | None:
        """Replace a damaged file by a new one with every readable row.

        Returns where the old file is now and the number of rows; None if another process has replaced it already.
        """
        with self._lock:
            try:
                self._file_id = _file_id(self.path)
                return self._replace()
            except _ERRORS as error:
                raise self._store_error(error) from error

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    def _store_error(self, error: Exception) -> StoreError:
        # A read-only connection may miss the log of a writer, so the file may only seem damaged.
        if isinstance(error, sqlite3.Error) and is_corruption(error) and not self.read_only:
            try:
                self._replace()
            except _ERRORS as failure:
                log.warning("the store %r is damaged and cannot be replaced: %s", str(self.path), failure)
        return StoreError(f"the store {str(self.path)!r} failed: {with_disk_hint(error)}")

    def _open(self) -> sqlite3.Connection:
        if self._connection is None or self._pid != os.getpid() or _file_id(self.path) != self._file_id:
            self._disconnect()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.key = sealing_key(self.path.with_name(self.path.name + ".key"))
            self._connection = self._connect()
            self._close_connection = close_with(self, self._connection)
            self._file_id, self._pid = _file_id(self.path), os.getpid()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        self.read_only = False
        self._file_id = _file_id(self.path)
        try:
            return connect(self.path)
        except sqlite3.Error as error:
            if is_read_only_error(error):
                self.read_only, self._read_only_reason = True, f": {error}"
                return connect_read_only(self.path)
            if not is_corruption(error):
                raise
        self._replace()
        return connect(self.path)

    def _replace(self) -> tuple[Path, int] | None:
        damaged = self._file_id
        self._disconnect()
        with locked(self.path.with_name(self.path.name + ".key")):
            if _file_id(self.path) != damaged:
                return None
            self.counters["replaced"] += 1
            aside = move_aside(self.path)
        with closing(connect(self.path)) as db:
            db.execute(ACCOUNTS)
            batches = readable_rows(aside, {**TABLES, "accounts": ("name",)})
            count = sum(transaction(db, partial(insert_rows, table=table, rows=rows)) for table, rows in batches)
        message = "the store %r was damaged; a new file has the %d rows that could be read, the old file is %s"
        log.warning(message, str(self.path), count, aside.name)
        return aside, count

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._close_connection()
        self._connection = None


# MemoryError: a damaged length field asks for more memory than the machine has.
_ERRORS = (sqlite3.Error, OSError, MemoryError)
_PAGES = ("freelist_count", "page_count")
_files: weakref.WeakSet[SQLiteFile] = weakref.WeakSet()


def _file_id(path: Path) -> tuple[int, int] | None:
    """Device and inode of the file at a path; None if it does not exist."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _after_fork() -> None:
    """Replace the locks: one that another thread held during the fork is never released in the child."""
    for file in _files:
        file._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
