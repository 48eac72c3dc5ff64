"""The local trace store: one SQLite file with every finished record, which is also the outbox of all exporters."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from llmops_flows.artifacts.disk_errors import with_disk_hint
from llmops_flows.core.errors import StoreError
from llmops_flows.core.fingerprint import decode, encode
from llmops_flows.core.redaction import redact_value
from llmops_flows.core.trace import Trace, from_stored, matches_address, referenced_addresses
from llmops_flows.stores.transaction import transaction

from .checksum import summed, trace_of
from .trace_file import connect, settle

T = TypeVar("T")
Elsewhere = Callable[[Sequence[str]], Mapping[str, bytes]]

_MOST = 500
_LOGGED = 500
"""Transactions after which the log is emptied."""
KEPT_DAYS = 183
_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. `seconds` and `interrupted` are None while it is at work, or was killed.

    config: the address of its config. records: how many it had to answer.
    """

    run: str
    flow: str
    started: float
    records: int
    seconds: float | None = None
    interrupted: bool | None = None
    config: str = ""


class TraceStore:
    """Traces, written by many processes at once, read by id, by run, or by whoever still has to deliver them.

    Args:
        path: the file; its folder is made.
        elsewhere: gives the bytes of values that were never at hand here (answers known from the store).

    Values lie under their addresses, once, however many traces refer to them; secrets in them are masked, so the
    bytes need not hash to the address.

    Raises:
        StoreError: the file can be neither read nor written.
    """

    def __init__(self, path: Path, *, elsewhere: Elsewhere | None = None) -> None:
        self.path = path
        self.elsewhere = elsewhere
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._written = 0

    # -- writing ---------------------------------------------------------------------------------------------------

    def begin(self, run: RunRecord) -> None:
        """Note that a run has begun, so that one that is killed is seen."""
        self._write(lambda db: _put_run(db, run))

    def add(
        self,
        run: RunRecord,
        stored: Sequence[Mapping[str, Any]],
        values: Mapping[str, bytes],
        *,
        exporters: Sequence[str] = (),
    ) -> None:
        """Keep the finished records of a run (as `core.trace.told` tells them), in one transaction.

        values: address to encoded value, of all that is at hand. exporters: who has to deliver these traces.
        """
        rows = [(one["id"], run.run, time.time(), summed(_masked(one))) for one in stored]
        fresh = [(a, _masked(decode(data))) for a, data in self._fresh(stored, values).items()]

        def write(db: sqlite3.Connection) -> None:
            _put_run(db, run)
            db.executemany("INSERT OR IGNORE INTO contents VALUES (?, ?)", fresh)
            db.executemany("INSERT OR REPLACE INTO traces (id, run, written, data) VALUES (?, ?, ?, ?)", rows)
            due = [(exporter, row[0]) for exporter in exporters for row in rows]
            db.executemany("INSERT OR IGNORE INTO deliveries VALUES (?, ?, NULL)", due)

        self._write(write)
        self._settle()

    # -- the outbox ------------------------------------------------------------------------------------------------

    def pending(self, exporter: str, limit: int = 100) -> list[Trace]:
        """Traces that this exporter still has to deliver, the oldest first."""
        query = (
            "SELECT traces.data FROM deliveries JOIN traces ON traces.id = deliveries.id "
            "WHERE exporter = ? AND shipped IS NULL ORDER BY traces.seq LIMIT ?"
        )
        return self._traces(query, exporter, limit)

    def waiting(self) -> dict[str, int]:
        """Exporter to how many traces it still has to deliver."""
        query = "SELECT exporter, count(*) FROM deliveries WHERE shipped IS NULL GROUP BY exporter"
        return {str(exporter): int(count) for exporter, count in self._rows(query)}

    def shipped(self, exporter: str, ids: Iterable[str]) -> None:
        """These traces have arrived; they are never pending again for this exporter."""
        rows = [(exporter, id, time.time()) for id in ids]
        self._write(lambda db: db.executemany("INSERT OR REPLACE INTO deliveries VALUES (?, ?, ?)", rows))

    def want(self, exporter: str, run: str | None = None) -> None:
        """Have the traces of a run (or all) delivered too, although this exporter was not configured then."""
        where, given = ("WHERE run = ?", [run]) if run is not None else ("", [])
        query = f"INSERT OR IGNORE INTO deliveries SELECT ?, id, NULL FROM traces {where}"
        self._write(lambda db: db.execute(query, [exporter, *given]))

    # -- reading ---------------------------------------------------------------------------------------------------

    def trace(self, id: str) -> Trace | None:
        """The trace with this id, as it stands in the `run_id` of an answer."""
        found = self._traces("SELECT data FROM traces WHERE id = ?", id.replace("-", ""))
        return found[0] if found else None

    def traces(self, run: str) -> list[Trace]:
        """The traces of a run, in the order in which they were written."""
        return self._traces("SELECT data FROM traces WHERE run = ? ORDER BY seq", run)

    def stored(self, run: str) -> dict[str, dict[str, Any] | None]:
        """Id to the trace of a run as it is kept, values by their addresses; None for one that is damaged."""
        rows = self._rows("SELECT id, data FROM traces WHERE run = ? ORDER BY seq", run)
        return {str(id): trace_of(data) for id, data in rows}

    def before(self, run: str | None, most: int) -> Iterator[dict[str, Any]]:
        """At most so many traces from before a run (None: before now), as they are kept, the last one first."""
        first = self._rows("SELECT min(seq) FROM traces WHERE run = ?", run)[0][0]
        seq = self._rows("SELECT max(seq) + 1 FROM traces")[0][0] if run is None else first
        while seq is not None and most > 0:
            query = "SELECT seq, data FROM traces WHERE seq < ? ORDER BY seq DESC LIMIT ?"
            rows = self._rows(query, seq, min(most, _MOST))
            seq, most = (rows[-1][0] if rows else None), most - len(rows)
            yield from (one for _, data in rows if (one := trace_of(data)) is not None)

    def kept(self, wanted: Iterable[str]) -> list[str]:
        """Those of the addresses for which something is kept, damaged or not."""
        return [address for (address,) in self._in("SELECT address FROM contents WHERE address IN", list(wanted))]

    def contents(self, wanted: Iterable[str]) -> dict[str, bytes]:
        """Address to the bytes that are kept for it: encoded, secrets masked. Damaged ones are left out."""
        rows = self._in("SELECT address, data FROM contents WHERE address IN", list(wanted))
        return {address: data for address, data in rows if matches_address(address, data)}

    def last(self, flow: str | None = None) -> RunRecord | None:
        """The run that began last (of a flow)."""
        found = self.runs(1, flow)
        return found[0] if found else None

    def runs(self, limit: int = 20, flow: str | None = None) -> list[RunRecord]:
        """Runs, the last one first."""
        where, given = ("WHERE flow = ?", [flow]) if flow is not None else ("", [])
        query = f"SELECT run, flow, started, records, seconds, interrupted, config FROM runs {where} "
        rows = self._rows(f"{query} ORDER BY seq DESC LIMIT ?", *given, limit)
        return [RunRecord(*row) for row in rows]

    def config(self, address: str) -> dict[str, Any] | None:
        """A run's config, secrets masked; None when it is not known."""
        found: dict[str, Any] | None = self._values([address]).get(address)
        return found

    def prune(self, *, days: float = KEPT_DAYS) -> int:
        """Remove traces older than `days` (and the values that no trace refers to any more). How many they were."""
        before = time.time() - days * _DAY
        oldest = self._rows("SELECT written FROM traces ORDER BY seq LIMIT 1")
        if not oldest or oldest[0][0] >= before:
            return 0

        def write(db: sqlite3.Connection) -> int:
            gone = db.execute("DELETE FROM traces WHERE written < ?", (before,)).rowcount
            db.execute("DELETE FROM deliveries WHERE id NOT IN (SELECT id FROM traces)")
            db.execute("DELETE FROM runs WHERE started < ? AND run NOT IN (SELECT run FROM traces)", (before,))
            _drop_values(db)
            return gone

        return self._write(write)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    # -- inside ----------------------------------------------------------------------------------------------------

    def _absent(self, wanted: Iterable[str]) -> list[str]:
        """Which of the addresses are not kept yet: only their values need to be looked at."""
        names = list(wanted)
        known = set(self.kept(names))
        return [name for name in names if name not in known]

    def _fresh(self, stored: Sequence[Mapping[str, Any]], values: Mapping[str, bytes]) -> dict[str, bytes]:
        """What is new of all that the traces refer to; what is not at hand is fetched, ere somebody evicts it."""
        absent = self._absent(dict.fromkeys([*values, *(a for one in stored for a in referenced_addresses(one))]))
        away = [address for address in absent if address not in values]
        try:
            found = self.elsewhere(away) if away and self.elsewhere is not None else {}
        except StoreError:
            found = {}  # the answers stand, and so do their traces
        return {a: values.get(a) or found[a] for a in absent if a in values or a in found}

    def _traces(self, query: str, *given: Any) -> list[Trace]:
        stored = [one for (data,) in self._rows(query, *given) if (one := trace_of(data)) is not None]
        values = self._values({address for one in stored for address in referenced_addresses(one)})
        return [from_stored(one, values) for one in stored]

    def _values(self, wanted: Iterable[str]) -> dict[str, Any]:
        """Address to value, secrets masked; those that were never at hand come from elsewhere."""
        names = list(wanted)
        found = {a: decode(data) for a, data in self.contents(names).items()}
        lost = [name for name in names if name not in found]
        if lost and self.elsewhere is not None:
            found.update({a: redact_value(decode(data)) for a, data in self.elsewhere(lost).items()})
        return found

    def _in(self, query: str, names: Sequence[str]) -> Iterator[Any]:
        for first in range(0, len(names), _MOST):
            part = names[first : first + _MOST]
            yield from self._rows(f"{query} ({','.join('?' * len(part))})", *part)

    def _rows(self, query: str, *given: Any) -> list[Any]:
        with self._lock, self._errors():
            return self._open().execute(query, given).fetchall()

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock, self._errors():
            return transaction(self._open(), work)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"the trace store {str(self.path)!r} failed: {with_disk_hint(error)}") from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None or self._pid != os.getpid():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection, self._pid = connect(self.path), os.getpid()
        return self._connection

    def _settle(self) -> None:
        """Now and then, empty the log."""
        self._written += 1
        if self._written % _LOGGED == 0:
            settle(self.path)


_NOTHING: Mapping[str, Any] = {"inputs": {}, "outputs": {}, "steps": []}


def _put_run(db: sqlite3.Connection, run: RunRecord) -> None:
    db.execute(
        "INSERT INTO runs (run, flow, started, records, seconds, interrupted, config) VALUES (?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (run) DO UPDATE SET seconds = excluded.seconds, interrupted = excluded.interrupted",
        (run.run, run.flow, run.started, run.records, run.seconds, run.interrupted, run.config),
    )


def _drop_values(db: sqlite3.Connection) -> None:
    """Remove the values that no trace and no run refers to."""
    used = {config for (config,) in db.execute("SELECT config FROM runs")}
    for (data,) in db.execute("SELECT data FROM traces"):
        used.update(referenced_addresses(trace_of(data) or _NOTHING))
    unused = [(a,) for (a,) in db.execute("SELECT address FROM contents") if a not in used]
    db.executemany("DELETE FROM contents WHERE address = ?", unused)


def _masked(value: Any) -> bytes:
    """The encoded bytes of a value with its secrets masked."""
    return encode(redact_value(value))
