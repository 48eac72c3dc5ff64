"""Checks SQLite files for damage, and copies the readable rows of a damaged file."""

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
"""Rows that one transaction copies. Other processes wait for one transaction at most."""
_BLOCKS = 256
_HEADER = b"SQLite format 3\0"
_SUFFIXES = {".sqlite", ".sqlite3", ".db"}
"""A file with such a suffix but without SQLite's header is damaged."""
_INTEGER_COLUMNS = {"rowid", "seq"}
_MAX_ERRORS = 3
_MAX_BYTES = 1 << 40
"""A header that claims more (1 TiB) is damaged."""


def integrity_errors(path: Path, tables: Mapping[str, Sequence[str]], application: int = 0) -> list[str]:
    """Errors in the structure of a file. Changes nothing.

    Args:
        path: the file.
        tables: table to its columns, which are checked in files of this application only.
        application: SQLite's `application_id`.
    """
    try:
        with closing(_open(path)) as db:
            errors = [str(text) for (text,) in db.execute(f"PRAGMA integrity_check({_MAX_ERRORS})").fetchall()]
            [(application_id,)] = db.execute("PRAGMA application_id").fetchall()
            for table, columns in tables.items() if application_id == application else ():
                names = {str(row[1]) for row in db.execute(f"PRAGMA table_info({table})").fetchall()}
                if names != set(columns) - {"rowid"}:
                    errors.append(f"the table {table} has lost its columns")
    except sqlite3.OperationalError as error:
        # A file that is locked or cannot be read is reported where it is opened.
        return [str(error)] if "malformed" in str(error) else []
    except (sqlite3.DatabaseError, ValueError) as error:
        return [str(error)]
    return [" ".join(text.split()) for text in errors if text != "ok"]


def path_problems(path: Path) -> list[str]:
    """Errors in a configured path that names a folder, or a file that is not a SQLite file."""
    if path.is_dir():
        return [f"path: {str(path)!r} is a folder; name a file in it"]
    try:
        with path.open("rb") as file:
            header = file.read(len(_HEADER))
    except OSError:
        return []  # it does not exist yet, or the error is reported where it is opened
    if not header or header == _HEADER or path.suffix in _SUFFIXES:
        return []
    return [f"path: {str(path)!r} is not a SQLite file; name a SQLite file, or a file that does not exist yet"]


def move_aside(path: Path) -> Path:
    """Rename a file and its write-ahead log to `<name>.broken-<time>`: `sqlite3 FILE .recover` may read more of it."""
    aside = path.with_name(f"{path.name}.broken-{time.time_ns()}")
    for suffix in ("", "-wal"):
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.replace(aside.with_name(aside.name + suffix))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    return aside


def readable_rows(old: Path, tables: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, list[Row]]]:
    """The readable rows of a damaged file: table and up to BATCH rows. Some rows are returned twice.

    The caller checks the rows. A table is read in the order of its first column.
    """
    try:
        _pad(old)
        with closing(_open(old)) as db:
            names = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
            for table, (column, *_) in tables.items():
                if table not in names:
                    continue
                rows = _rows(db, f"SELECT * FROM {table} NOT INDEXED", column)
                while batch := list(islice(rows, BATCH)):
                    yield table, batch
    except (sqlite3.DatabaseError, OSError):
        return
    finally:
        _remove_side_files(old)


def insert_rows(db: sqlite3.Connection, table: str, rows: Sequence[Row]) -> int:
    """Insert copied rows that do not exist yet, and return their number. Rows with damaged types are left out."""
    count = 0
    for row in rows:
        try:
            count += db.execute(f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * len(row))})", row).rowcount
        except (sqlite3.IntegrityError, sqlite3.DataError):
            continue
    return count


def _pad(path: Path) -> None:
    """Restore the length of a truncated file: SQLite does not open a file that is shorter than its header says."""
    with path.open("r+b") as file:
        header = file.read(32)
        page_size, pages = int.from_bytes(header[16:18], "big"), int.from_bytes(header[28:32], "big")
        size = (65_536 if page_size == 1 else page_size) * pages
        if path.stat().st_size < size < _MAX_BYTES:
            file.truncate(size)


def _remove_side_files(path: Path) -> None:
    """Remove the files that SQLite created for reading."""
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and not log.stat().st_size:
        log.unlink()


def _rows(db: sqlite3.Connection, query: str, column: str) -> Iterator[Row]:
    """The rows of a table, read from both ends of every block up to the damage. Some are returned twice."""
    for low, high in _blocks(db, query, column):
        for order in ("", "DESC"):
            where = f"WHERE {column} >= ? AND {column} < ? ORDER BY {column} {order}"
            yield from _rows_until_damage(db, f"{query} {where}", low, high)


def _rows_until_damage(db: sqlite3.Connection, query: str, *parameters: object) -> Iterator[Row]:
    try:
        yield from db.execute(query, parameters)
    except (sqlite3.DatabaseError, MemoryError, ValueError, OverflowError):
        return


def _blocks(db: sqlite3.Connection, query: str, column: str) -> Iterator[tuple[object, object]]:
    """Ranges of a column of integers, or else of hex digests."""
    if column not in _INTEGER_COLUMNS:
        yield from pairwise(["", *(f"{n:02x}" for n in range(_BLOCKS)), "g", chr(0x10FFFF)])
        return
    rows = _rows_until_damage(db, query.replace("SELECT *", f"SELECT max({column})"))
    last = next((row[0] for row in rows), None)
    step = (last if isinstance(last, int) else _BLOCKS * 1000) // _BLOCKS + 1
    yield from pairwise(n * step for n in range(_BLOCKS + 1))


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True, timeout=30.0, isolation_level=None)
    db.text_factory = lambda data: data.decode("utf-8", "replace")
    return db
