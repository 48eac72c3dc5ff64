"""A damaged SQLite file: what is wrong with it, and what of it can still be read."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice, pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

Row = tuple[Any, ...]

BATCH = 500
"""Rows that are taken over in one go: nobody else waits longer than that takes."""
_BLOCKS = 256
_HEAD = b"SQLite format 3\0"
_ENDINGS = {".sqlite", ".sqlite3", ".db"}
"""So named, a file without that head is a damaged one."""
_NUMBERS = {"rowid", "seq"}
_MOST_TOLD = 3
_ABSURD = 1 << 40
"""No file of ours is as long (1 TiB): its head is damaged."""


def integrity_errors(path: Path, tables: Mapping[str, Sequence[str]], application: int = 0) -> list[str]:
    """What is wrong with the structure of a file; empty: nothing. Changes nothing.

    tables: name to its columns; they are looked at in a file of this application only.
    """
    try:
        with closing(_opened(path)) as db:
            found = [str(text) for (text,) in db.execute(f"PRAGMA integrity_check({_MOST_TOLD})").fetchall()]
            [(mark,)] = db.execute("PRAGMA application_id").fetchall()
            for table, columns in tables.items() if mark == application else ():
                there = {str(row[1]) for row in db.execute(f"PRAGMA table_info({table})").fetchall()}
                found += [f"the table {table} has lost its columns"] if there != set(columns) - {"rowid"} else []
    except sqlite3.OperationalError as error:
        return [str(error)] if "malformed" in str(error) else []  # locked, not readable: reported where it is opened
    except (sqlite3.DatabaseError, ValueError) as error:
        return [str(error)]
    return [" ".join(text.split()) for text in found if text != "ok"]


def path_problems(path: Path) -> list[str]:
    """What stands where a SQLite file is wanted and is somebody else's: nobody moves that aside."""
    if path.is_dir():
        return [f"path: {str(path)!r} is a folder; name a file in it"]
    try:
        with path.open("rb") as file:
            head = file.read(len(_HEAD))
    except OSError:
        return []  # not there yet, or told by whoever opens it
    if not head or head == _HEAD or path.suffix in _ENDINGS:
        return []
    return [f"path: {str(path)!r} is no SQLite file; name one, or one that is not there yet"]


def move_aside(path: Path) -> Path:
    """Move a file, with the log of its last writes, out of the way: `sqlite3 FILE .recover` may still read it."""
    place = path.with_name(f"{path.name}.broken-{time.time_ns()}")
    for suffix in ("", "-wal"):
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.replace(place.with_name(place.name + suffix))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    return place


def readable_rows(old: Path, tables: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, list[Row]]]:
    """The rows that can still be read of a damaged file: table and at most BATCH rows, some of them twice.

    Whoever takes them judges whether they are as they were written. A table is read in the order of its first column.
    """
    try:
        _pad(old)
        with closing(_opened(old)) as db:
            there = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
            for table, (column, *_) in tables.items():
                if table not in there:
                    continue
                rows = _rows(db, f"SELECT * FROM {table} NOT INDEXED", column)
                while part := list(islice(rows, BATCH)):
                    yield table, part
    except (sqlite3.DatabaseError, OSError):
        return
    finally:
        _tidy(old)


def insert_rows(db: sqlite3.Connection, table: str, rows: Sequence[Row]) -> int:
    """Write readable_rows rows where their place is free; how many. Those of an odd type are damaged, and left out."""
    saved = 0
    for row in rows:
        try:
            saved += db.execute(f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * len(row))})", row).rowcount
        except (sqlite3.IntegrityError, sqlite3.DataError):
            continue
    return saved


def _pad(path: Path) -> None:
    """Give a file that was cut off its length back: SQLite reads nothing at all of one that is too short."""
    with path.open("r+b") as file:
        head = file.read(32)
        page, pages = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:32], "big")
        whole = (65_536 if page == 1 else page) * pages
        if path.stat().st_size < whole < _ABSURD:
            file.truncate(whole)


def _tidy(path: Path) -> None:
    """Remove what SQLite made in order to read."""
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and not log.stat().st_size:
        log.unlink()


def _rows(db: sqlite3.Connection, query: str, column: str) -> Iterator[Row]:
    """The rows of a table from both ends of every block, each until the damage. Some come twice."""
    for low, high in _blocks(db, query, column):
        for way in ("", "DESC"):
            yield from _until(db, f"{query} WHERE {column} >= ? AND {column} < ? ORDER BY {column} {way}", low, high)


def _until(db: sqlite3.Connection, query: str, *given: object) -> Iterator[Row]:
    try:
        yield from db.execute(query, given)
    except (sqlite3.DatabaseError, MemoryError, ValueError, OverflowError):
        return


def _blocks(db: sqlite3.Connection, query: str, column: str) -> Iterator[tuple[object, object]]:
    """Ranges of a column that is a number, or else a hex digest."""
    if column not in _NUMBERS:
        yield from pairwise(["", *(f"{n:02x}" for n in range(_BLOCKS)), "g", chr(0x10FFFF)])
        return
    last = next((row[0] for row in _until(db, query.replace("SELECT *", f"SELECT max({column})"))), None)
    step = (last if isinstance(last, int) else _BLOCKS * 1000) // _BLOCKS + 1
    yield from pairwise(n * step for n in range(_BLOCKS + 1))


def _opened(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True, timeout=30.0, isolation_level=None)
    db.text_factory = lambda data: data.decode("utf-8", "replace")
    return db
