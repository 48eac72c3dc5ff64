"""The file of the trace store: its tables, how it is opened, and when its log is emptied."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

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


def connect(path: Path) -> sqlite3.Connection:
    """A connection to the file, which is made where it is not there. Its log is not emptied by itself: `settle`."""
    db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA secure_delete = ON")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    names = "('runs', 'traces', 'contents', 'deliveries')"
    found = db.execute(f"SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN {names}").fetchone()
    if found != (_TABLES,):
        db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
    return db


def holds_traces(path: Path) -> bool:
    """Whether a file is a trace store. Only looks: a path that was read somewhere may name anybody's file."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'traces_of_run'").fetchone() is not None
    except sqlite3.Error:
        return False


def settle(path: Path) -> None:
    """Move what was written from the log into the file: aside, for it waits for the disk."""
    threading.Thread(target=_checkpoint, args=(path,), name="llmops-flows-traces", daemon=True).start()


def _checkpoint(path: Path) -> None:
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS)) as db:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)")
    except sqlite3.Error:
        return  # the next one does it
