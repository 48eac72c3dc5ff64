"""One SQLite file, kept open for all threads of a process: through forks, damage, and being moved away."""

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
from .sqlite_transaction import transaction

T = TypeVar("T")
log = logging.getLogger("llmops_flows.store")


class SQLiteFile:
    """The file at `path`, opened when first needed. `key` seals its rows; `counters["replaced"]` counts new starts.

    Every error of SQLite or the operating system comes as StoreError.
    """

    def __init__(self, path: Path, counters: Counter[str]) -> None:
        self.path = path
        self.counters = counters
        self.read_only = False
        self.key = b""
        self._why = ""
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._mark: tuple[int, int] | None = None
        self._pid = 0
        _files.add(self)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, to read with; one thread at a time."""
        with self._lock:
            try:
                yield self._open()
            except _ERRORS as error:
                raise self._told(error) from error

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do work in one transaction that nobody can interrupt; all of it counts, or nothing."""
        with self._lock:
            try:
                return self._transaction(work)
            except _ERRORS as error:
                raise self._told(error) from error

    def compact(self) -> None:
        """Give the room of removed rows back to the disk, unless somebody is writing just now."""
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
                    raise self._told(error) from error
                log.info("the room of what was evicted is used again, but not yet given back: %s", error)

    def repair(self) -> tuple[Path, int] | None:
        """Begin a new file with what can be read of a damaged one: where that lies now, how many rows it gave.

        None: another process has done so already.
        """
        with self._lock:
            try:
                self._mark = _mark(self.path)
                return self._replace()
            except _ERRORS as error:
                raise self._told(error) from error

    def close(self) -> None:
        with self._lock:
            self._leave()

    def _transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self.read_only:
            self._leave()  # perhaps it can be written by now
        db = self._open()
        if self.read_only:
            raise OSError(f"it can be read but not written{self._why}")
        return transaction(db, work)

    def _told(self, error: Exception) -> StoreError:
        # What is read past a log that others write to may check_entries damaged, and is not.
        if isinstance(error, sqlite3.Error) and is_corruption(error) and not self.read_only:
            try:
                self._replace()
            except _ERRORS as another:
                log.warning("the store %r is damaged and cannot be begun anew: %s", str(self.path), another)
        return StoreError(f"the store {str(self.path)!r} failed: {with_disk_hint(error)}")

    def _open(self) -> sqlite3.Connection:
        if self._connection is None or self._pid != os.getpid() or _mark(self.path) != self._mark:
            self._leave()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.key = sealing_key(self.path.with_name(self.path.name + ".key"))
            self._connection = self._connected()
            self._mark, self._pid = _mark(self.path), os.getpid()
        return self._connection

    def _connected(self) -> sqlite3.Connection:
        self.read_only = False
        self._mark = _mark(self.path)
        try:
            return connect(self.path)
        except sqlite3.Error as error:
            if is_read_only_error(error):
                self.read_only, self._why = True, f": {error}"
                return connect_read_only(self.path)
            if not is_corruption(error):
                raise
        self._replace()
        return connect(self.path)

    def _replace(self) -> tuple[Path, int] | None:
        """Begin a new file in place of a damaged one, unless another process has; what can be read comes along."""
        seen = self._mark
        self._leave()
        with locked(self.path.with_name(self.path.name + ".key")):
            if _mark(self.path) != seen:
                return None
            self.counters["replaced"] += 1
            place = move_aside(self.path)
        with closing(connect(self.path)) as db:
            db.execute(ACCOUNTS)
            parts = readable_rows(place, {**TABLES, "accounts": ("name",)})
            saved = sum(transaction(db, partial(insert_rows, table=table, rows=rows)) for table, rows in parts)
        told = "the store %r was damaged and is begun anew, with %d rows that could be read; the old file: %s"
        log.warning(told, str(self.path), saved, place.name)
        return place, saved

    def _leave(self) -> None:
        """Let go of the connection; one that was inherited by a fork is left alone, since closing it does harm."""
        if self._connection is not None:
            if self._pid == os.getpid():
                self._connection.close()
            else:
                _inherited.append(self._connection)
        self._connection = None


# MemoryError: a damaged length asks for more than there is.
_ERRORS = (sqlite3.Error, OSError, MemoryError)
_PAGES = ("freelist_count", "page_count")
_files: weakref.WeakSet[SQLiteFile] = weakref.WeakSet()
_inherited: list[sqlite3.Connection] = []


def _mark(path: Path) -> tuple[int, int] | None:
    """Which file lies at the path (device and number); None: none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _after_fork() -> None:
    """A lock that another thread held while the process forked would never be free in the child."""
    for file in _files:
        file._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
