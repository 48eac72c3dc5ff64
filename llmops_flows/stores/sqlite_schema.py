"""The tables of the SQLite store, and how a file that holds them is opened."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from llmops_flows.artifacts.file_locks import locked
from llmops_flows.core.errors import StoreError

from .sqlite_transaction import transaction

T = TypeVar("T")

SCHEMA = 1
"""Raised when the tables change. A file of an older schema is brought up to date, a newer one is left alone."""

APPLICATION = 0x6C6C6D66
"""Marks our files, so that another program's database is never taken for a store."""

_TABLES = """
CREATE TABLE IF NOT EXISTS entries (
    key TEXT PRIMARY KEY, address TEXT NOT NULL, meta BLOB NOT NULL, seal BLOB NOT NULL, used REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS contents (address TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS leases (
    key TEXT PRIMARY KEY, owner TEXT NOT NULL, expires REAL NOT NULL, error BLOB NOT NULL, seal BLOB NOT NULL
) WITHOUT ROWID;
"""
TABLES = {"entries": ("key", "address", "meta", "seal", "used"), "contents": ("rowid", "address", "data")}
"""What of a damaged file is worth reading: tables, and their columns, of which the first is the order of the rows."""
ACCOUNTS = (
    "CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, data BLOB NOT NULL, seal BLOB NOT NULL, "
    "used REAL NOT NULL) WITHOUT ROWID"
)
"""Made when it is first needed, so that the schema of stores without a budget stays what it is."""
_BUSY_SECONDS = 30.0
_ABSURD = 1000
"""No schema will ever have this number: it is damage."""


def connect(path: Path) -> sqlite3.Connection:
    """The file, open for reading and writing, with its tables made or brought up to date.

    Raises:
        sqlite3.Error: it cannot be opened, or is damaged.
        StoreError: it is another program's, or a newer version's.
    """
    db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        db.text_factory = _text
        if not _patiently(lambda: _current(db)):
            with locked(path.with_name(path.name + ".key")):
                if not _patiently(lambda: _current(db)):
                    _patiently(lambda: _refuse(db, path))
                    _patiently(lambda: db.execute("PRAGMA journal_mode = WAL"))
                    _prepare(db)
        db.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        db.close()
        raise
    return db


def _patiently(work: Callable[[], T]) -> T:
    """What SQLite answers. While many open a new file at once, it says "locked" without waiting, as it else does."""
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.005)


def connect_read_only(path: Path) -> sqlite3.Connection:
    """The file, for reading only: where nobody may write, or where it lies in a read-only folder."""
    last: sqlite3.Error | None = None
    for how in ("mode=ro", "mode=ro&immutable=1"):
        uri = f"file:{quote(str(path.resolve()))}?{how}"
        db = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            db.text_factory = _text
            if _current(db):
                return db
            last = sqlite3.OperationalError("it has no tables of this version, and cannot be written")
        except sqlite3.Error as error:
            last = error
        db.close()
    assert last is not None
    raise last


def _text(data: bytes) -> str:
    """Text that damage made invalid becomes other text, which no seal seal_matches."""
    return data.decode("utf-8", "replace")


def _number(db: sqlite3.Connection, pragma: str) -> int:
    return int(db.execute(f"PRAGMA {pragma}").fetchone()[0])


def _current(db: sqlite3.Connection) -> bool:
    """Whether the file is a store of this version, in the mode in which many may write."""
    if (_number(db, "application_id"), _number(db, "user_version")) != (APPLICATION, SCHEMA):
        return False
    [(tables,)] = db.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('entries', 'contents', 'leases')"
    ).fetchall()
    return bool(tables == 3)


def _refuse(db: sqlite3.Connection, path: Path) -> None:
    """Raise for a file that is not ours to change: another program's, a newer version's, a damaged one."""
    names = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()}
    application, version = _number(db, "application_id"), _number(db, "user_version")
    foreign = names - {"entries", "contents", "leases", "accounts", "sqlite_sequence"}
    if application not in (0, APPLICATION) or (application == 0 and foreign):
        raise StoreError(f"{str(path)!r} is another program's database: name another file for the store")
    if version > _ABSURD:
        raise sqlite3.DatabaseError("the file is malformed: it has no schema number")
    if version > SCHEMA:
        raise StoreError(
            f"the store {str(path)!r} was written by a newer version of llmops_flows (schema {version}, known here: "
            f"{SCHEMA}): upgrade, or name another file"
        )


def _prepare(db: sqlite3.Connection) -> None:
    """Make the tables, or bring them up to date. Leases of an older version are let go."""

    def work(db: sqlite3.Connection) -> None:
        for statement in ("DROP TABLE IF EXISTS leases", *_TABLES.split(";")):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {SCHEMA}")

    transaction(db, work)


def is_corruption(error: sqlite3.Error) -> bool:
    """Whether the file is no database, or a damaged one."""
    code = getattr(error, "sqlite_errorcode", 0) or 0
    damaged = code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return damaged or any(word in str(error) for word in ("malformed", "unsupported file format", "no such column"))


def is_read_only_error(error: sqlite3.Error) -> bool:
    """Whether the file may be there for reading only, for want of a right, or of room for what is made beside it."""
    code = getattr(error, "sqlite_errorcode", 0) or 0
    few = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL)
    return code & 0xFF in few or code in (sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMOPEN)
