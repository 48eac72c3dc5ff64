"""Whether the trace store is as it was written: its file, its traces, and the values that they refer to."""

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
_NAMED = (("deliveries", "id"), ("traces", "id"), ("contents", "address"))


def trace_counts(path: Path) -> tuple[int, int]:
    """How many traces there are, of how many runs. Raises StoreError."""
    try:
        with closing(connect(path)) as db:
            [(traces, runs)] = db.execute("SELECT count(*), count(DISTINCT run) FROM traces").fetchall()
            return int(traces), int(runs)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"the trace store {str(path)!r} failed: {error}") from error


def verify(path: Path, *, repair: bool = False) -> tuple[int, Mapping[str, LostEntry]]:
    """How many traces are as they were written, and what is not: trace id, address or file to what was lost.

    With `repair`, damaged rows are removed; a damaged file is begun anew with what can be read of it.

    Raises:
        StoreError: the file can be neither read nor written.
    """
    if not path.exists():
        return 0, {}
    lost: dict[str, LostEntry] = {}
    try:
        if torn := integrity_errors(path, {}):
            why = "; ".join(torn)
            if not repair:
                return 0, {str(path): LostEntry("file", why)}
            place, saved = _repair(path)
            lost[str(path)] = LostEntry("file", f"{why}; {saved} rows could be read, the old file is {place.name}")
        with closing(connect(path)) as db:
            good, bad = _damaged(db)
            if repair and bad:
                transaction(db, partial(_drop, names=list(bad)))
        return good, {**lost, **bad}
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"the trace store {str(path)!r} failed: {error}") from error


def _repair(path: Path) -> tuple[Path, int]:
    place = move_aside(path)
    with closing(connect(path)) as db:
        parts = readable_rows(place, _TABLES)
        return place, sum(transaction(db, partial(insert_rows, table=table, rows=rows)) for table, rows in parts)


def _damaged(db: sqlite3.Connection) -> tuple[int, dict[str, LostEntry]]:
    good, lost = 0, {}
    for id, data in db.execute("SELECT id, data FROM traces"):
        if (decode_trace(data) or {}).get("id") == id:
            good += 1
        else:
            lost[str(id)] = LostEntry("trace", "its bytes are not those that were written")
    for address, data in db.execute("SELECT address, data FROM contents"):
        if not matches_address(str(address), data):
            lost[str(address)] = LostEntry("value of a trace", "its bytes do not fit its address")
    return good, lost


def _drop(db: sqlite3.Connection, names: list[str]) -> None:
    for table, column in _NAMED:
        db.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(name,) for name in names])
