"""The default store: one SQLite file that many threads and processes read and write at once."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from llmops_flows.core.errors import StoreError
from llmops_flows.core.store import ERROR_SECONDS, Entry, Lease, LostEntry, VerificationReport

from .maintenance import TOUCH_SECONDS, EntryUsage, MonotonicClock, StoreMaintenance, entry_usage, valid_values
from .seal import ACCOUNT_SECONDS, read_account, seal, seal_matches, write_key
from .sqlite_file import SQLiteFile
from .sqlite_repair import integrity_errors
from .sqlite_schema import ACCOUNTS, APPLICATION, TABLES

T = TypeVar("T")
log = logging.getLogger("llmops_flows.store")

_MOST = 500
_LONGEST = 3600.0
"""No lease is asked for longer."""


class SQLiteStore(StoreMaintenance):
    """Rows sealed by a key beside the file, values checked against their address.

    Args:
        path: the file; its folder is made. A key file `<path>.key` (mode 0600) is made beside it; without it a copy
            of the store is worth nothing: `backup` copies both.

    What cannot be trusted is dropped, counted in `counters`, told once, and unknown from then on: `bad_seal`,
    `bad_value`. A file that is no database (any more) is moved aside (`replaced`). A store that can only be read is
    read. A file that somebody removes or replaces while it is open is opened anew.

    Raises:
        StoreError: the file can be neither read nor written (no space, no permission, locked too long, another
            program's or a newer version's file).
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.counters: Counter[str] = Counter()
        self._file = SQLiteFile(self.path, self.counters)
        self._time = MonotonicClock()

    def __reduce__(self) -> tuple[Any, ...]:
        return SQLiteStore, (self.path,)

    # -- what the runner asks ------------------------------------------------------------------------------------

    def entries(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        rows = self._rows("SELECT key, entries.address, meta, seal, used FROM entries JOIN contents "
                          "ON contents.address = entries.address WHERE key IN ", keys)  # fmt: skip
        found, bad = self._good(rows)
        self._drop("entries", "key", bad, "bad_seal")
        before = self._time.now() - TOUCH_SECONDS
        self._touch([row[0] for row in rows if row[0] in found and type(row[4]) is float and row[4] < before])
        return found

    def values(self, addresses: Sequence[str]) -> Mapping[str, bytes]:
        found, bad = self.check_values(addresses)
        self._drop("contents", "address", bad, "bad_value")
        return found

    def put(self, entries: Mapping[str, Entry], values: Mapping[str, bytes]) -> None:
        def write(db: sqlite3.Connection) -> None:
            now = self._time.now()
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
        rows = self._rows(_LEASES, keys)
        found = {lease.key: lease for row in rows if (lease := self._held(row, owner, seconds)) and not lease.granted}
        wanted = [key for key in keys if key not in found]
        if wanted:
            found.update(self._file.write(lambda db: {key: self._claim(db, key, owner, seconds) for key in wanted}))
        return found

    def release(self, keys: Iterable[str], owner: str, *, error: bytes = b"") -> None:
        held = [(key, owner) for key in keys]

        def write(db: sqlite3.Connection) -> None:
            until = time.monotonic() + ERROR_SECONDS
            for key, _ in held:
                gone = db.execute("DELETE FROM leases WHERE key = ? AND owner = ?", (key, owner)).rowcount
                if gone and error:
                    self._note(db, key, owner, until, error)
            if error:
                old = (until - _LONGEST, until + _LONGEST)
                db.execute("DELETE FROM leases WHERE expires NOT BETWEEN ? AND ?", old)

        if held:
            self._file.write(write)

    def change(self, name: str, work: Callable[[bytes | None], tuple[bytes | None, T]]) -> T:
        def write(db: sqlite3.Connection) -> T:
            db.execute(ACCOUNTS)
            row = db.execute("SELECT seal, data FROM accounts WHERE name = ?", (name,)).fetchone()
            data, answer = work(read_account(self._file.key, name, *row) if row else None)
            if data is not None:
                now, sealed = time.time(), seal(self._file.key, "account", name, data)
                db.execute("INSERT OR REPLACE INTO accounts VALUES (?, ?, ?, ?)", (name, data, sealed, now))
                if row is None:
                    db.execute("DELETE FROM accounts WHERE used < ?", (now - ACCOUNT_SECONDS,))
            return answer

        return self._file.write(write)

    def close(self) -> None:
        self._file.close()

    # -- care ------------------------------------------------------------------------------------------------------

    def verify(self, *, repair: bool = True) -> VerificationReport:
        """Check the file, entries and values; with `repair`, damaged rows are dropped, and others are readable_rows."""
        torn = integrity_errors(self.path, TABLES, APPLICATION) if self.path.exists() else []
        if not torn:
            with self._file.reading():
                writable = not self._file.read_only
            return super().verify(repair=repair and writable)
        why = "; ".join(torn)
        if not repair:
            return VerificationReport(0, 0, {str(self.path): LostEntry("file", why)})
        if mended := self._file.repair():
            why = f"{why}; {mended[1]} rows could be read and are kept, the old file is {mended[0].name}"
        found = super().verify()
        return VerificationReport(found.entries, found.values, {str(self.path): LostEntry("file", why), **found.lost})

    def compact(self) -> None:
        self._file.compact()

    def usages(self) -> Sequence[EntryUsage]:
        with self._file.reading() as db:
            rows = db.execute("SELECT key, address, meta, CAST(used AS REAL) FROM entries").fetchall()
        now = self._time.now()
        return [entry_usage(str(key), str(address), meta, now - when) for key, address, meta, when in rows]

    def value_sizes(self) -> Mapping[str, int]:
        with self._file.reading() as db:
            rows = db.execute("SELECT address, length(data) FROM contents").fetchall()
        return {str(address): int(size or 0) for address, size in rows}

    def check_entries(self, keys: Sequence[str]) -> tuple[dict[str, Entry], list[str]]:
        return self._good(self._rows("SELECT key, address, meta, seal FROM entries WHERE key IN ", keys))

    def check_values(self, addresses: Sequence[str]) -> tuple[dict[str, bytes], list[str]]:
        return valid_values(dict(self._rows("SELECT address, data FROM contents WHERE address IN ", addresses)))

    def lease_owners(self) -> Sequence[str]:
        with self._file.reading() as db:
            rows = db.execute("SELECT key, owner, expires, error, seal FROM leases").fetchall()
        held = (self._held(row, "", _LONGEST) for row in rows)
        return [lease.owner for lease in held if lease and not lease.error]

    def delete_rows(self, keys: Sequence[str], addresses: Sequence[str]) -> None:
        def work(db: sqlite3.Connection) -> None:
            db.executemany("DELETE FROM entries WHERE key = ?", [(key,) for key in keys])
            if addresses:
                needed = f"SELECT address FROM entries WHERE address IN ({','.join('?' * len(addresses))})"
                still = {address for (address,) in db.execute(needed, list(addresses)).fetchall()}
                gone = [(address,) for address in addresses if address not in still]
                db.executemany("DELETE FROM contents WHERE address = ?", gone)

        self._file.write(work)

    def backup(self, path: Path | str) -> None:
        """Copy the store as it is now, with its key, to another file (replaced whole); others go on writing."""
        target = Path(path)
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._file.reading():
            key = self._file.key
        try:
            # A connection of its own: copying many pages must not hold up those who ask.
            source, copy = sqlite3.connect(self.path), sqlite3.connect(draft)
            try:
                source.backup(copy, pages=4096, sleep=0.01)
            finally:
                copy.close()
                source.close()
            write_key(target.with_name(target.name + ".key"), key)
            draft.replace(target)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"the store {str(self.path)!r} could not be copied to {str(target)!r}: {error}") from error
        finally:
            draft.unlink(missing_ok=True)

    # -- leases: by the time since the machine was started, which its processes share and nobody sets --------------

    def _held(self, row: tuple[Any, ...], owner: str, seconds: float) -> Lease | None:
        """The lease of a row, unless it is over, or not as it was written: then nobody has it."""
        key, holder, expires, error, kept = row
        if type(expires) is not float or not seal_matches(
            kept, self._file.key, "lease", key, holder, repr(expires), error
        ):
            self._count("bad_seal", 1)
            return None
        now = time.monotonic()
        # A lease that ends absurdly late was made before the machine was started anew.
        if expires <= now or expires > now + 2 * max(seconds, ERROR_SECONDS):
            return None
        return Lease(key, holder, holder == owner and not error, error)

    def _claim(self, db: sqlite3.Connection, key: str, owner: str, seconds: float) -> Lease:
        row = db.execute(f"{_LEASES}(?)", (key,)).fetchone()
        held = self._held(row, owner, seconds) if row is not None else None
        if held is not None and not held.granted:
            return held
        self._note(db, key, owner, time.monotonic() + seconds, b"")
        return Lease(key, owner, True)

    def _note(self, db: sqlite3.Connection, key: str, owner: str, expires: float, error: bytes) -> None:
        sealed = seal(self._file.key, "lease", key, owner, repr(expires), error)
        db.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?)", (key, owner, expires, error, sealed))

    # -- rows ------------------------------------------------------------------------------------------------------

    def _good(self, rows: list[Any]) -> tuple[dict[str, Entry], list[str]]:
        """Of rows of key, address, meta, seal: the entries that are as they were written, the keys of the others."""
        found, bad = {}, []
        for key, address, meta, kept, *_ in rows:
            if seal_matches(kept, self._file.key, "entry", key, address, meta):
                found[key] = Entry(address, meta)
            else:
                bad.append(key)
        return found, bad

    def _touch(self, stale: list[str]) -> None:
        """Note that entries are in use, once a day; what cannot be written is only noted too late."""
        if stale and not self._file.read_only:
            try:
                now = [(self._time.now(), key) for key in stale]
                self._file.write(lambda db: db.executemany("UPDATE entries SET used = ? WHERE key = ?", now))
            except StoreError as error:
                log.debug("what is in use could not be noted: %s", error)

    def _rows(self, query: str, names: Sequence[str]) -> list[Any]:
        rows: list[Any] = []
        with self._file.reading() as db:
            for first in range(0, len(names), _MOST):
                part = list(names[first : first + _MOST])
                rows += db.execute(f"{query}({','.join('?' * len(part))})", part).fetchall()
        return rows

    def _drop(self, table: str, column: str, names: list[str], reason: str) -> None:
        if not names:
            return
        self._count(reason, len(names))
        if not self._file.read_only:
            self._file.write(
                lambda db: db.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(n,) for n in names])
            )

    def _count(self, reason: str, number: int) -> None:
        if not self.counters[reason]:
            log.warning("the store %r holds damaged rows: they are dropped and computed again", str(self.path))
        self.counters[reason] += number


_LEASES = "SELECT key, owner, expires, error, seal FROM leases WHERE key IN "
