"""The default store: one SQLite file that many threads and processes read and write at once."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from llmops_flows.core.errors import StoreError
from llmops_flows.core.store import Entry, Lease

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    key TEXT PRIMARY KEY, address TEXT NOT NULL, meta BLOB NOT NULL, seal BLOB NOT NULL, used REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS contents (address TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS leases (
    key TEXT PRIMARY KEY, owner TEXT NOT NULL, expires REAL NOT NULL, error BLOB NOT NULL
) WITHOUT ROWID;
"""
_ERROR_SECONDS = 5.0
_BUSY_SECONDS = 20.0
_MOST = 500


class SQLiteStore:
    """Entries sealed by a key beside the file, values checked against their address.

    Args:
        path: the file; its folder is made. A key file `<path>.key` (mode 0600) is made beside it.

    What cannot be trusted is dropped, counted in `counters`, and unknown from then on: `bad_seal`, `bad_value`. A
    file that is no database is moved aside (`replaced`). The seal makes an entry worthless in another store.

    Raises:
        StoreError: the file can be neither read nor written (no space, no permission, locked too long).
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.counters: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._key = b""

    # -- what the runner asks ------------------------------------------------------------------------------------

    def entries(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        rows = self._rows("SELECT key, entries.address, meta, seal FROM entries JOIN contents "
                          "ON contents.address = entries.address WHERE key IN ", keys)  # fmt: skip
        found, bad = {}, []
        for key, address, meta, seal in rows:
            if (
                type(meta) is bytes
                and type(seal) is bytes
                and hmac.compare_digest(seal, self._seal(key, address, meta))
            ):
                found[key] = Entry(address, meta)
            else:
                bad.append(key)
        self._drop("entries", "key", bad, "bad_seal")
        return found

    def values(self, addresses: Sequence[str]) -> Mapping[str, bytes]:
        rows = self._rows("SELECT address, data FROM contents WHERE address IN ", addresses)
        found, bad = {}, []
        for address, data in rows:
            if type(data) is bytes and hashlib.sha256(data).hexdigest() == address:
                found[address] = data
            else:
                bad.append(address)
        self._drop("contents", "address", bad, "bad_value")
        return found

    def put(self, entries: Mapping[str, Entry], values: Mapping[str, bytes]) -> None:
        def write(db: sqlite3.Connection) -> None:
            now = time.time()
            db.executemany("INSERT OR IGNORE INTO contents VALUES (?, ?)", list(values.items()))
            db.executemany(
                "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?)",
                [(k, e.address, e.meta, self._seal(k, e.address, e.meta), now) for k, e in entries.items()],
            )

        self._write(write)

    def lease(self, keys: Sequence[str], owner: str, *, seconds: float) -> Mapping[str, Lease]:
        def write(db: sqlite3.Connection) -> dict[str, Lease]:
            return {key: _claim(db, key, owner, seconds) for key in keys}

        return self._write(write)

    def release(self, keys: Iterable[str], owner: str, *, error: bytes = b"") -> None:
        held = [(key, owner) for key in keys]

        def write(db: sqlite3.Connection) -> None:
            if error:
                until = time.time() + _ERROR_SECONDS
                mark = "UPDATE leases SET expires = ?, error = ? WHERE key = ? AND owner = ?"
                db.executemany(mark, [(until, error, *pair) for pair in held])
            else:
                db.executemany("DELETE FROM leases WHERE key = ? AND owner = ?", held)

        self._write(write)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    # -- care ------------------------------------------------------------------------------------------------------

    def stats(self) -> dict[str, int]:
        """How many entries and values there are, and how many bytes the values hold."""
        with self._reading() as db:
            [(entries,)] = db.execute("SELECT count(*) FROM entries").fetchall()
            [(values, size)] = db.execute("SELECT count(*), coalesce(sum(length(data)), 0) FROM contents").fetchall()
        return {"entries": entries, "values": values, "bytes": size}

    def verify(self) -> dict[str, int]:
        """Check every entry and value; bad ones are dropped. How many were good, and what was dropped."""
        before = Counter(self.counters)
        with self._reading() as db:
            keys = [key for (key,) in db.execute("SELECT key FROM entries").fetchall()]
            addresses = [address for (address,) in db.execute("SELECT address FROM contents").fetchall()]
        values = sum(len(self.values(addresses[n : n + _MOST])) for n in range(0, len(addresses), _MOST))
        entries = sum(len(self.entries(keys[n : n + _MOST])) for n in range(0, len(keys), _MOST))
        return {"entries": entries, "values": values, **(self.counters - before)}

    # -- inside ----------------------------------------------------------------------------------------------------

    def _rows(self, query: str, names: Sequence[str]) -> list[Any]:
        rows: list[Any] = []
        with self._reading() as db:
            for first in range(0, len(names), _MOST):
                part = list(names[first : first + _MOST])
                rows += db.execute(f"{query}({','.join('?' * len(part))})", part).fetchall()
        return rows

    def _seal(self, key: str, address: str, meta: bytes) -> bytes:
        return hmac.digest(self._key, f"{key}\n{address}\n".encode() + meta, "sha256")

    def _drop(self, table: str, column: str, names: list[str], reason: str) -> None:
        if names:
            self.counters[reason] += len(names)
            self._write(lambda db: db.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(n,) for n in names]))

    @contextmanager
    def _reading(self) -> Any:
        with self._lock, self._errors():
            yield self._open()

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock, self._errors():
            db = self._open()
            db.execute("BEGIN IMMEDIATE")
            try:
                result = work(db)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            return result

    @contextmanager
    def _errors(self) -> Any:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, sqlite3.DatabaseError) and _broken(error):
                self._set_aside()
            raise StoreError(f"the store {str(self.path)!r} failed: {error}") from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None or self._pid != os.getpid():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._key = _sealing_key(self.path.with_name(self.path.name + ".key"))
            try:
                self._connection = self._connect()
            except sqlite3.DatabaseError as error:
                if not _broken(error):
                    raise
                self._set_aside()
                self._connection = self._connect()
            self._pid = os.getpid()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        tables = db.execute("SELECT count(*) FROM sqlite_master WHERE name IN ('entries', 'contents', 'leases')")
        if tables.fetchone() != (3,):
            db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        return db

    def _set_aside(self) -> None:
        """Move a file that is no database out of the way; what it held will be computed again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self.counters["replaced"] += 1
        if self.path.exists():
            self.path.replace(self.path.with_name(f"{self.path.name}.broken-{int(time.time())}"))
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)


def _claim(db: sqlite3.Connection, key: str, owner: str, seconds: float) -> Lease:
    now = time.time()
    row = db.execute("SELECT owner, expires, error FROM leases WHERE key = ?", (key,)).fetchone()
    # A lease that ends absurdly late was made before the clock was set back.
    free = row is None or row[1] <= now or row[1] > now + 2 * max(seconds, _ERROR_SECONDS)
    if free or (row[0] == owner and not row[2]):
        db.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)", (key, owner, now + seconds, b""))
        return Lease(key, owner, True)
    return Lease(key, row[0], False, row[2])


def _broken(error: sqlite3.DatabaseError) -> bool:
    return type(error) is sqlite3.DatabaseError and any(
        word in str(error) for word in ("not a database", "malformed", "encrypted")
    )


def _sealing_key(path: Path) -> bytes:
    """The key of a store; the first process that wants it makes it, whole or not at all."""
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(32))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        key = path.read_bytes()
    if len(key) != 32:
        raise StoreError(f"the key {str(path)!r} is damaged; remove it (everything will be computed again)")
    return key
