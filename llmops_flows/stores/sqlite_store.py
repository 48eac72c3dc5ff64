"""The default store: one SQLite file that many threads and processes read and write at once."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from llmops_flows.core.errors import StoreError
from llmops_flows.core.store import ERROR_SECONDS, Entry, Lease, LostEntry, VerificationReport

from .maintenance import (
    TOUCH_SECONDS,
    EntryUsage,
    MonotonicClock,
    StoreMaintenance,
    batches,
    entry_usage,
    valid_entries,
    valid_values,
)
from .seal import ACCOUNT_SECONDS, read_account, seal, seal_matches, write_key
from .sqlite_file import SQLiteFile
from .sqlite_repair import integrity_errors
from .sqlite_schema import ACCOUNTS, APPLICATION, TABLES

T = TypeVar("T")
log = logging.getLogger("llmops_flows.store")

_MAX_LEASE_SECONDS = 3600.0
_SELECT_LEASES = "SELECT key, owner, expires, error, seal FROM leases WHERE key IN "


class SQLiteStore(StoreMaintenance):
    """Rows sealed with a key beside the file, and values checked against their addresses.

    Rows that do not match their seal or address are dropped, counted in `counters` (`bad_seal`, `bad_value`), logged
    once, and computed again. A damaged file is renamed and replaced (`replaced`). A file without write permission is
    opened read-only. A file that is removed or replaced while it is open is reopened.

    Args:
        path: the file; its folder is created. The key is created beside it as `<path>.key` (mode 0600). A copy of the
            store cannot be used without its key: `backup` copies both.

    Raises:
        StoreError: the file can be neither read nor written (no space, no permission, locked for too long), or
            belongs to another program or a newer version.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.counters: Counter[str] = Counter()
        self._file = SQLiteFile(self.path, self.counters)
        self._clock = MonotonicClock()

    def __reduce__(self) -> tuple[Any, ...]:
        return SQLiteStore, (self.path,)

    # -- core.store.Store and calls.budget.Ledger ------------------------------------------------------------------

    def entries(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        rows = self._rows("SELECT key, entries.address, meta, seal, used FROM entries JOIN contents "
                          "ON contents.address = entries.address WHERE key IN ", keys)  # fmt: skip
        entries, bad = valid_entries(self._file.key, rows)
        self._drop("entries", "key", bad, "bad_seal")
        before = self._clock.now() - TOUCH_SECONDS
        self._touch([row[0] for row in rows if row[0] in entries and type(row[4]) is float and row[4] < before])
        return entries

    def values(self, addresses: Sequence[str]) -> Mapping[str, bytes]:
        values, bad = self.check_values(addresses)
        self._drop("contents", "address", bad, "bad_value")
        return values

    def put(self, entries: Mapping[str, Entry], values: Mapping[str, bytes]) -> None:
        def write(db: sqlite3.Connection) -> None:
            now = self._clock.now()
            db.executemany("INSERT OR IGNORE INTO contents VALUES (?, ?)", list(values.items()))
            db.executemany(
                "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?)",
                [
                    (k, e.address, e.meta, seal(self._file.key, "entry", k, e.address, e.meta), now)
                    for k, e in entries.items()
                ],
            )

        self._file.write(write)

    def lease(self, keys: Sequence[str], owner: str, *, seconds: float) -> Mapping[str, Lease]:
        rows = self._rows(_SELECT_LEASES, keys)
        leases = {
            lease.key: lease for row in rows if (lease := self._lease_of(row, owner, seconds)) and not lease.granted
        }
        free = [key for key in keys if key not in leases]
        if free:
            leases.update(self._file.write(lambda db: {key: self._claim(db, key, owner, seconds) for key in free}))
        return leases

    def release(self, keys: Iterable[str], owner: str, *, error: bytes = b"") -> None:
        released = list(keys)

        def write(db: sqlite3.Connection) -> None:
            until = time.monotonic() + ERROR_SECONDS
            for key in released:
                count = db.execute("DELETE FROM leases WHERE key = ? AND owner = ?", (key, owner)).rowcount
                if count and error:
                    self._write_lease(db, key, owner, until, error)
            if error:
                limits = (until - _MAX_LEASE_SECONDS, until + _MAX_LEASE_SECONDS)
                db.execute("DELETE FROM leases WHERE expires NOT BETWEEN ? AND ?", limits)

        if released:
            self._file.write(write)

    def change(self, name: str, work: Callable[[bytes | None], tuple[bytes | None, T]]) -> T:
        def write(db: sqlite3.Connection) -> T:
            db.execute(ACCOUNTS)
            row = db.execute("SELECT seal, data FROM accounts WHERE name = ?", (name,)).fetchone()
            data, result = work(read_account(self._file.key, name, *row) if row else None)
            if data is not None:
                now, sealed = time.time(), seal(self._file.key, "account", name, data)
                db.execute("INSERT OR REPLACE INTO accounts VALUES (?, ?, ?, ?)", (name, data, sealed, now))
                if row is None:
                    db.execute("DELETE FROM accounts WHERE used < ?", (now - ACCOUNT_SECONDS,))
            return result

        return self._file.write(write)

    def close(self) -> None:
        self._file.close()

    # -- maintenance -----------------------------------------------------------------------------------------------

    def verify(self, *, repair: bool = True) -> VerificationReport:
        """Check the file, entries and values. `repair` drops damaged rows, and replaces a damaged file."""
        errors = integrity_errors(self.path, TABLES, APPLICATION) if self.path.exists() else []
        if not errors:
            with self._file.reading():
                writable = not self._file.read_only
            return super().verify(repair=repair and writable)
        why = "; ".join(errors)
        if not repair:
            return VerificationReport(0, 0, {str(self.path): LostEntry("file", why)})
        if repaired := self._file.repair():
            old, count = repaired
            why = f"{why}; {count} rows could be read and are kept, the old file is {old.name}"
        report = super().verify()
        lost = {str(self.path): LostEntry("file", why), **report.lost}
        return VerificationReport(report.entries, report.values, lost)

    def compact(self) -> None:
        self._file.compact()

    def usages(self) -> Sequence[EntryUsage]:
        with self._file.reading() as db:
            rows = db.execute("SELECT key, address, meta, CAST(used AS REAL) FROM entries").fetchall()
        now = self._clock.now()
        return [entry_usage(str(key), str(address), meta, now - used) for key, address, meta, used in rows]

    def value_sizes(self) -> Mapping[str, int]:
        with self._file.reading() as db:
            rows = db.execute("SELECT address, length(data) FROM contents").fetchall()
        return {str(address): int(size or 0) for address, size in rows}

    def check_entries(self, keys: Sequence[str]) -> tuple[dict[str, Entry], list[str]]:
        rows = self._rows("SELECT key, address, meta, seal FROM entries WHERE key IN ", keys)
        return valid_entries(self._file.key, rows)

    def check_values(self, addresses: Sequence[str]) -> tuple[dict[str, bytes], list[str]]:
        return valid_values(dict(self._rows("SELECT address, data FROM contents WHERE address IN ", addresses)))

    def lease_owners(self) -> Sequence[str]:
        with self._file.reading() as db:
            rows = db.execute("SELECT key, owner, expires, error, seal FROM leases").fetchall()
        leases = (self._lease_of(row, "", _MAX_LEASE_SECONDS) for row in rows)
        return [lease.owner for lease in leases if lease and not lease.error]

    def delete_rows(self, keys: Sequence[str], addresses: Sequence[str]) -> None:
        def work(db: sqlite3.Connection) -> None:
            db.executemany("DELETE FROM entries WHERE key = ?", [(key,) for key in keys])
            if addresses:
                query = f"SELECT address FROM entries WHERE address IN ({','.join('?' * len(addresses))})"
                used = {address for (address,) in db.execute(query, list(addresses)).fetchall()}
                unused = [(address,) for address in addresses if address not in used]
                db.executemany("DELETE FROM contents WHERE address = ?", unused)

        self._file.write(work)

    def backup(self, path: Path | str) -> None:
        """Copy the store and its key to another file, which is replaced atomically. Writers are not blocked."""
        target = Path(path)
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._file.reading():
            key = self._file.key
        try:
            # A separate connection: copying many pages must not block this process's readers.
            with closing(sqlite3.connect(self.path)) as source, closing(sqlite3.connect(draft)) as copy:
                source.backup(copy, pages=4096, sleep=0.01)
            write_key(target.with_name(target.name + ".key"), key)
            draft.replace(target)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"the store {str(self.path)!r} cannot be copied to {str(target)!r}: {error}") from error
        finally:
            draft.unlink(missing_ok=True)

    # -- leases: expire by the time since boot, which all processes share and which cannot be set ------------------

    def _lease_of(self, row: tuple[Any, ...], owner: str, seconds: float) -> Lease | None:
        """The lease in a row; None if it has expired or its seal does not match."""
        key, holder, expires, error, stored = row
        sealed = (key, holder, repr(expires), error)
        if type(expires) is not float or not seal_matches(stored, self._file.key, "lease", *sealed):
            self._count("bad_seal", 1)
            return None
        now = time.monotonic()
        # A lease that expires later than any new lease was written before the last reboot.
        if expires <= now or expires > now + 2 * max(seconds, ERROR_SECONDS):
            return None
        return Lease(key, holder, holder == owner and not error, error)

    def _claim(self, db: sqlite3.Connection, key: str, owner: str, seconds: float) -> Lease:
        row = db.execute(f"{_SELECT_LEASES}(?)", (key,)).fetchone()
        lease = self._lease_of(row, owner, seconds) if row is not None else None
        if lease is not None and not lease.granted:
            return lease
        self._write_lease(db, key, owner, time.monotonic() + seconds, b"")
        return Lease(key, owner, True)

    def _write_lease(self, db: sqlite3.Connection, key: str, owner: str, expires: float, error: bytes) -> None:
        sealed = seal(self._file.key, "lease", key, owner, repr(expires), error)
        db.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?)", (key, owner, expires, error, sealed))

    # -- rows ------------------------------------------------------------------------------------------------------

    def _touch(self, keys: list[str]) -> None:
        """Record that entries are in use. A failed write only delays the record."""
        if keys and not self._file.read_only:
            try:
                rows = [(self._clock.now(), key) for key in keys]
                self._file.write(lambda db: db.executemany("UPDATE entries SET used = ? WHERE key = ?", rows))
            except StoreError as error:
                log.debug("the time of last use cannot be written: %s", error)

    def _rows(self, query: str, names: Sequence[str]) -> list[Any]:
        rows: list[Any] = []
        with self._file.reading() as db:
            for part in batches(names):
                rows += db.execute(f"{query}({','.join('?' * len(part))})", part).fetchall()
        return rows

    def _drop(self, table: str, column: str, names: list[str], reason: str) -> None:
        if not names:
            return
        self._count(reason, len(names))
        if not self._file.read_only:
            rows = [(name,) for name in names]
            self._file.write(lambda db: db.executemany(f"DELETE FROM {table} WHERE {column} = ?", rows))

    def _count(self, reason: str, number: int) -> None:
        if not self.counters[reason]:
            log.warning("the store %r holds damaged rows: they are dropped and computed again", str(self.path))
        self.counters[reason] += number
