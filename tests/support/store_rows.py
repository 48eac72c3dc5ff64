"""Rows for a store, and direct access to the SQLite file of a store."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

from llmops_flows.core.fingerprint import digest
from llmops_flows.core.store import Entry

Rows = tuple[dict[str, Entry], dict[str, bytes]]


def make_rows(count: int, size: int = 200) -> Rows:
    values = [random.Random(n).randbytes(size) for n in range(count)]
    meta = b'{"seconds":0.1,"usage":{"output_tokens":3}}'
    return (
        {digest("key", str(n)): Entry(digest(value), meta) for n, value in enumerate(values)},
        {digest(value): value for value in values},
    )


def execute_sql(path: Path, statement: str, *values: object) -> list[tuple[object, ...]]:
    """Execute SQL on the file, without the key of the store."""
    db = sqlite3.connect(path, isolation_level=None)
    try:
        return db.execute(statement, values).fetchall()
    finally:
        db.close()
