"""Rows that were written to a SQLite store without its key are ignored."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops_flows.core.fingerprint import digest
from llmops_flows.core.store import Entry
from llmops_flows.stores.sqlite_store import SQLiteStore
from tests.support.store_rows import execute_sql, make_rows

COLUMNS = [
    *(("entries", column) for column in ("key", "address", "meta", "seal")),
    *(("contents", column) for column in ("address", "data")),
    *(("leases", column) for column in ("key", "owner", "expires", "error", "seal")),
]


def bits(value: object) -> Iterator[object]:
    """The value with one bit changed, for every bit."""
    data = value.encode() if isinstance(value, str) else value
    if isinstance(data, float):
        yield from (data + change for change in (-1e6, -0.001, 0.001, 10.0, 1e9))
        return
    assert isinstance(data, bytes)
    for n in range(len(data) * 8):
        changed = bytearray(data)
        changed[n // 8] ^= 1 << (n % 8)
        yield bytes(changed)


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_every_changed_bit_of_every_table_is_detected(store: SQLiteStore, path: Path, table: str, column: str) -> None:
    key, text = digest("key"), b"an answer"
    address = digest(text)
    store.put({key: Entry(address, b'{"seconds":1}')}, {address: text})
    store.lease([key], "owner", seconds=1000)
    store.release([key], "owner", error=b'{"message":"no"}')
    db = sqlite3.connect(path, isolation_level=None)
    db.text_factory = bytes
    [row] = db.execute(f"SELECT * FROM {table}").fetchall()
    [(value,)] = db.execute(f"SELECT {column} FROM {table}").fetchall()
    typed = "CAST(? AS TEXT)" if column in ("key", "address", "owner") else "?"
    texts = {"entries": 2, "contents": 1, "leases": 2}[table]
    places = ", ".join("CAST(? AS TEXT)" if n < texts else "?" for n in range(len(row)))
    for changed in bits(value):
        db.execute(f"UPDATE {table} SET {column} = {typed}", (changed,))
        names = [changed.decode("utf-8", "replace")] if isinstance(changed, bytes) and typed != "?" else []
        if table == "entries":
            assert store.entries([key, *names]) == {}
        elif table == "contents":
            assert store.values([address, *names]) == {}
        else:
            assert all(lease.granted for lease in store.lease([key, *names], "another", seconds=0.0).values())
        db.execute(f"DELETE FROM {table}")
        db.execute(f"INSERT INTO {table} VALUES ({places})", row)
    db.close()
    assert store.counters["replaced"] == 0


def test_swapped_rows_are_ignored(store: SQLiteStore, path: Path) -> None:
    entries, values = make_rows(2)
    store.put(entries, values)
    (a, one), (b, two) = entries.items()
    seals = dict(execute_sql(path, "SELECT key, seal FROM entries"))
    for key, entry, sealed in ((a, two, seals[b]), (b, one, seals[a])):
        execute_sql(path, "UPDATE entries SET address = ?, seal = ? WHERE key = ?", entry.address, sealed, key)
    assert store.entries([a, b]) == {}
    execute_sql(path, "UPDATE contents SET data = (SELECT data FROM contents WHERE address = ?) WHERE address = ?",
        two.address, one.address)  # fmt: skip
    assert store.values([one.address, two.address]) == {two.address: values[two.address]}


def test_rows_of_another_store_are_ignored(store: SQLiteStore, path: Path, tmp_path: Path) -> None:
    entries, values = make_rows(2)
    store.put(*make_rows(0))
    other = SQLiteStore(tmp_path / "other.sqlite")
    other.put(entries, values)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(f"ATTACH '{other.path}' AS other")
    for table in ("entries", "contents"):
        db.execute(f"INSERT INTO {table} SELECT * FROM other.{table}")
    db.close()
    other.close()
    assert store.entries(list(entries)) == {}
    assert store.counters["bad_seal"] == 2


@pytest.mark.parametrize("odd", [None, 7, 1.5, "text", b"", b"bytes"])
def test_values_of_another_type_are_ignored(store: SQLiteStore, path: Path, odd: object) -> None:
    entries, values = make_rows(1)
    [key] = entries
    for table, column in COLUMNS:
        store.put(entries, values)
        store.lease([key], "owner", seconds=1000)
        try:
            execute_sql(path, f"UPDATE {table} SET {column} = ?", odd)
        except sqlite3.IntegrityError:
            continue  # a constraint of the table
        assert set(store.entries([key])) <= {key}
        assert store.values([entries[key].address]).get(entries[key].address, b"") in (b"", *values.values())
        assert store.lease([key], "another", seconds=0.0)
        store.release([key], "another")
        execute_sql(path, "DELETE FROM leases")
