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
"""Increased when the tables change. Files of an older schema are migrated; files of a newer schema are rejected."""

APPLICATION = 0x6C6C6D66
"""The `application_id` of store files, so that another program's database is never used as a store."""

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
"""The tables that a repair copies, and their columns; the first column is the order of the rows."""
ACCOUNTS = (
    "CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, data BLOB NOT NULL, seal BLOB NOT NULL, "
    "used REAL NOT NULL) WITHOUT ROWID"
)
"""Created when first needed, so that the schema of stores without a budget does not change."""
_BUSY_SECONDS = 30.0
_MAX_SCHEMA = 1000
"""A higher schema number is damage."""


def connect(path: Path) -> sqlite3.Connection:
    """Open the file for reading and writing, and create or migrate its tables.

    Raises:
        sqlite3.Error: the file cannot be opened, or is damaged.
        StoreError: the file belongs to another program, or to a newer version.
    """
    db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        db.text_factory = _decode_text
        if not _retry_while_busy(lambda: _is_current(db)):
            with locked(path.with_name(path.name + ".key")):
                if not _retry_while_busy(lambda: _is_current(db)):
                    _retry_while_busy(lambda: _check_ownership(db, path))
                    _retry_while_busy(lambda: db.execute("PRAGMA journal_mode = WAL"))
                    _create_tables(db)
        db.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        db.close()
        raise
    return db


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Open a file that cannot be written, or that is in a folder that cannot be written."""
    last: sqlite3.Error | None = None
    for mode in ("mode=ro", "mode=ro&immutable=1"):
        uri = f"file:{quote(str(path.resolve()))}?{mode}"
        db = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            db.text_factory = _decode_text
            if _is_current(db):
                return db
            last = sqlite3.OperationalError("it has no tables of this schema version, and cannot be written")
        except sqlite3.Error as error:
            last = error
        db.close()
    assert last is not None
    raise last


def is_corruption(error: sqlite3.Error) -> bool:
    """Whether the file is not a database, or is damaged."""
    code = getattr(error, "sqlite_errorcode", 0) or 0
    damaged = code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return damaged or any(text in str(error) for text in ("malformed", "unsupported file format", "no such column"))


def is_read_only_error(error: sqlite3.Error) -> bool:
    """Whether the file may be readable although it cannot be written: no permission, or no space for its log."""
    code = getattr(error, "sqlite_errorcode", 0) or 0
    codes = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL)
    return code & 0xFF in codes or code in (sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMOPEN)


def _retry_while_busy(work: Callable[[], T]) -> T:
    """Retry while the file is locked: when many processes create it at once, SQLite's own timeout does not apply."""
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.005)


def _decode_text(data: bytes) -> str:
    """Decode text. Invalid bytes of a damaged row are replaced, so that the row does not match its seal."""
    return data.decode("utf-8", "replace")


def _number(db: sqlite3.Connection, pragma: str) -> int:
    return int(db.execute(f"PRAGMA {pragma}").fetchone()[0])


def _is_current(db: sqlite3.Connection) -> bool:
    """Whether the file is a store of this schema."""
    if (_number(db, "application_id"), _number(db, "user_version")) != (APPLICATION, SCHEMA):
        return False
    [(tables,)] = db.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('entries', 'contents', 'leases')"
    ).fetchall()
    return bool(tables == 3)


def _check_ownership(db: sqlite3.Connection, path: Path) -> None:
    """Raise for a file that must not be changed: another program's, a newer version's, or a damaged one."""
    names = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()}
    application, version = _number(db, "application_id"), _number(db, "user_version")
    foreign = names - {"entries", "contents", "leases", "accounts", "sqlite_sequence"}
    if application not in (0, APPLICATION) or (application == 0 and foreign):
        raise StoreError(f"{str(path)!r} is another program's database: choose another file for the store")
    if version > _MAX_SCHEMA:
        raise sqlite3.DatabaseError("the file is malformed: it has no schema number")
    if version > SCHEMA:
        raise StoreError(
            f"the store {str(path)!r} was written by a newer version of llmops_flows (schema {version}, supported: "
            f"{SCHEMA}): upgrade llmops_flows, or choose another file"
        )


def _create_tables(db: sqlite3.Connection) -> None:
    """Create the tables, or migrate them. A migration drops the leases."""

    def work(db: sqlite3.Connection) -> None:
        for statement in ("DROP TABLE IF EXISTS leases", *_TABLES.split(";")):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {SCHEMA}")

    transaction(db, work)
