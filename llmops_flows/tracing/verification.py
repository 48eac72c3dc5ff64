"""Checks the trace store for damage: its file, its traces, and their values."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

from llmops_flows.core.errors import StoreError
from llmops_flows.core.store import LostEntry
from llmops_flows.core.trace import matches_address
from llmops_flows.stores.sqlite_repair import insert_rows, integrity_errors, move_aside, readable_rows
from llmops_flows.stores.sqlite_transaction import transaction

from .trace_checksum import decode_trace
from .trace_file import connect

_TABLES = {
    "runs": ("seq", "run", "flow", "started", "records", "seconds", "interrupted", "config"),
    "traces": ("seq", "id", "run", "written", "data"),
    "contents": ("rowid", "address", "data"),
    "deliveries": ("exporter", "id", "shipped"),
}
_ID_COLUMNS = (("deliveries", "id"), ("traces", "id"), ("contents", "address"))


def trace_counts(path: Path) -> tuple[int, int]:
    """The numbers of traces and of their runs. Raises StoreError."""
    try:
        with closing(connect(path)) as db:
            [(traces, runs)] = db.execute("SELECT count(*), count(DISTINCT run) FROM traces").fetchall()
            return int(traces), int(runs)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"the trace store {str(path)!r} failed: {error}") from error


def verify(path: Path, *, repair: bool = False) -> tuple[int, Mapping[str, LostEntry]]:
    """The number of intact traces; and trace id, address or file to its damage.

    `repair` removes damaged rows, and replaces a damaged file by a new one with every readable row.

    Raises:
        StoreError: the file can be neither read nor written.
    """
    if not path.exists():
        return 0, {}
    lost: dict[str, LostEntry] = {}
    try:
        if errors := integrity_errors(path, {}):
            why = "; ".join(errors)
            if not repair:
                return 0, {str(path): LostEntry("file", why)}
            old, count = _repair(path)
            lost[str(path)] = LostEntry("file", f"{why}; {count} rows could be read, the old file is {old.name}")
        with closing(connect(path)) as db:
            intact, damaged = _check_rows(db)
            if repair and damaged:
                transaction(db, partial(_delete, ids=list(damaged)))
        return intact, {**lost, **damaged}
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"the trace store {str(path)!r} failed: {error}") from error


def _repair(path: Path) -> tuple[Path, int]:
    """Where the damaged file is now, and the number of rows that the new one has."""
    old = move_aside(path)
    with closing(connect(path)) as db:
        batches = readable_rows(old, _TABLES)
        return old, sum(transaction(db, partial(insert_rows, table=table, rows=rows)) for table, rows in batches)


def _check_rows(db: sqlite3.Connection) -> tuple[int, dict[str, LostEntry]]:
    intact, damaged = 0, {}
    for id, data in db.execute("SELECT id, data FROM traces"):
        if (decode_trace(data) or {}).get("id") == id:
            intact += 1
        else:
            damaged[str(id)] = LostEntry("trace", "its bytes do not match its checksum")
    for address, data in db.execute("SELECT address, data FROM contents"):
        if not matches_address(str(address), data):
            damaged[str(address)] = LostEntry("value of a trace", "its bytes do not match its address")
    return intact, damaged


def _delete(db: sqlite3.Connection, ids: list[str]) -> None:
    for table, column in _ID_COLUMNS:
        db.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(id,) for id in ids])
