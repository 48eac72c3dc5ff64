"""The local trace store: one SQLite file with every finished record and the outbox of all exporters."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmops_flows.core.errors import StoreError
from llmops_flows.core.fingerprint import decode, encode
from llmops_flows.core.redaction import redact_value
from llmops_flows.core.trace import Trace, from_stored, matches_address, referenced_addresses

from .outbox import Outbox, add_deliveries
from .trace_checksum import decode_trace, with_checksum
from .trace_file import TraceFile

ReadValues = Callable[[Sequence[str]], Mapping[str, bytes]]
"""Returns known address to bytes."""

KEPT_DAYS = 183
_DAY = 86400.0
_BATCH = 500


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. `seconds` and `interrupted` are None while the run is in progress, or if it was killed.

    Attributes:
        config: the address of its config.
        records: the number of records of the run.
    """

    run: str
    flow: str
    started: float
    records: int
    seconds: float | None = None
    interrupted: bool | None = None
    config: str = ""


class TraceStore:
    """Traces, written by many processes at once and read by id, by run, or from the `outbox`.

    A value is stored once under its content address, even if many traces refer to it. Since secrets in values are
    redacted, the bytes need not match the address.

    Args:
        path: the file; its folder is created.
        read_values: returns values that a run did not have in memory (answers known from the answer store).

    Raises:
        StoreError: the file can be neither read nor written.
    """

    def __init__(self, path: Path, *, read_values: ReadValues | None = None) -> None:
        self.path = path
        self.read_values = read_values
        self._file = TraceFile(path)
        self.outbox = Outbox(self._file, self._select)

    # -- writing ---------------------------------------------------------------------------------------------------

    def begin(self, run: RunRecord) -> None:
        """Record that a run has started, so that a killed run is visible."""
        self._file.write(lambda db: _put_run(db, run))

    def add(
        self,
        run: RunRecord,
        traces: Sequence[Mapping[str, Any]],
        values: Mapping[str, bytes],
        *,
        exporters: Sequence[str] = (),
    ) -> None:
        """Write the finished records of a run in one transaction.

        Args:
            run: the run.
            traces: as `core.trace.to_stored` returns them.
            values: address to encoded value, for all values that are in memory.
            exporters: the exporters that have to deliver these traces.
        """
        rows = [(trace["id"], run.run, time.time(), with_checksum(_redacted(trace))) for trace in traces]
        contents = [(a, _redacted(decode(data))) for a, data in self._new_values(traces, values).items()]

        def write(db: sqlite3.Connection) -> None:
            _put_run(db, run)
            db.executemany("INSERT OR IGNORE INTO contents VALUES (?, ?)", contents)
            db.executemany("INSERT OR REPLACE INTO traces (id, run, written, data) VALUES (?, ?, ?, ?)", rows)
            add_deliveries(db, exporters, [row[0] for row in rows])

        self._file.write(write)

    def prune(self, *, days: float = KEPT_DAYS) -> int:
        """Remove traces older than `days` and the values that no trace refers to. Returns the number of traces."""
        before = time.time() - days * _DAY
        oldest = self._file.rows("SELECT written FROM traces ORDER BY seq LIMIT 1")
        if not oldest or oldest[0][0] >= before:
            return 0

        def write(db: sqlite3.Connection) -> int:
            count = db.execute("DELETE FROM traces WHERE written < ?", (before,)).rowcount
            db.execute("DELETE FROM deliveries WHERE id NOT IN (SELECT id FROM traces)")
            db.execute("DELETE FROM runs WHERE started < ? AND run NOT IN (SELECT run FROM traces)", (before,))
            _drop_unused_values(db)
            return count

        return self._file.write(write)

    def close(self) -> None:
        """Close the file. Using a closed store opens it again."""
        self._file.close()

    # -- reading ---------------------------------------------------------------------------------------------------

    def trace(self, id: str) -> Trace | None:
        """The trace with this id (the `run_id` of an answer)."""
        traces = self._select("SELECT data FROM traces WHERE id = ?", id.replace("-", ""))
        return traces[0] if traces else None

    def traces(self, run: str) -> list[Trace]:
        """The traces of a run, in the order in which they were written."""
        return self._select("SELECT data FROM traces WHERE run = ? ORDER BY seq", run)

    def stored(self, run: str) -> dict[str, dict[str, Any] | None]:
        """Id to the stored form of each trace of a run, values as addresses; None for a damaged trace."""
        rows = self._file.rows("SELECT id, data FROM traces WHERE run = ? ORDER BY seq", run)
        return {str(id): decode_trace(data) for id, data in rows}

    def before(self, run: str | None, most: int) -> Iterator[dict[str, Any]]:
        """The stored form of up to `most` traces written before a run (None: before now), newest first."""
        if run is None:
            seq = self._file.rows("SELECT max(seq) + 1 FROM traces")[0][0]
        else:
            seq = self._file.rows("SELECT min(seq) FROM traces WHERE run = ?", run)[0][0]
        while seq is not None and most > 0:
            query = "SELECT seq, data FROM traces WHERE seq < ? ORDER BY seq DESC LIMIT ?"
            rows = self._file.rows(query, seq, min(most, _BATCH))
            seq, most = (rows[-1][0] if rows else None), most - len(rows)
            yield from (trace for _, data in rows if (trace := decode_trace(data)) is not None)

    def stored_addresses(self, addresses: Iterable[str]) -> list[str]:
        """The addresses whose values are stored, damaged or not."""
        query = "SELECT address FROM contents WHERE address IN"
        return [address for (address,) in self._file.rows_in(query, list(addresses))]

    def contents(self, addresses: Iterable[str]) -> dict[str, bytes]:
        """Address to stored bytes: encoded, secrets redacted. Damaged values are left out."""
        rows = self._file.rows_in("SELECT address, data FROM contents WHERE address IN", list(addresses))
        return {address: data for address, data in rows if matches_address(address, data)}

    def last(self, flow: str | None = None) -> RunRecord | None:
        """The run (of a flow) that started last."""
        runs = self.runs(1, flow)
        return runs[0] if runs else None

    def runs(self, limit: int = 20, flow: str | None = None) -> list[RunRecord]:
        """Runs, newest first."""
        where, parameters = ("WHERE flow = ?", [flow]) if flow is not None else ("", [])
        query = f"SELECT run, flow, started, records, seconds, interrupted, config FROM runs {where} "
        rows = self._file.rows(f"{query} ORDER BY seq DESC LIMIT ?", *parameters, limit)
        return [RunRecord(*row) for row in rows]

    def config(self, address: str) -> dict[str, Any] | None:
        """A run's config, secrets redacted; None if it is unknown."""
        config: dict[str, Any] | None = self._values([address]).get(address)
        return config

    # -- values ----------------------------------------------------------------------------------------------------

    def _new_values(self, traces: Sequence[Mapping[str, Any]], values: Mapping[str, bytes]) -> dict[str, bytes]:
        """The values of traces that are not stored yet. Values that are not in memory come from `read_values`."""
        names = list(dict.fromkeys([*values, *(a for trace in traces for a in referenced_addresses(trace))]))
        stored = set(self.stored_addresses(names))
        new = [address for address in names if address not in stored]
        missing = [address for address in new if address not in values]
        try:
            fetched = self.read_values(missing) if missing and self.read_values is not None else {}
        except StoreError:
            fetched = {}  # a trace without these values is still useful
        return {a: values.get(a) or fetched[a] for a in new if a in values or a in fetched}

    def _select(self, query: str, *parameters: Any) -> list[Trace]:
        """The traces whose `data` a query returns; damaged ones are left out."""
        rows = self._file.rows(query, *parameters)
        stored = [trace for (data,) in rows if (trace := decode_trace(data)) is not None]
        values = self._values({address for trace in stored for address in referenced_addresses(trace)})
        return [from_stored(trace, values) for trace in stored]

    def _values(self, addresses: Iterable[str]) -> dict[str, Any]:
        """Address to value, secrets redacted, from this store or else from `read_values`."""
        requested = list(addresses)
        values = {a: decode(data) for a, data in self.contents(requested).items()}
        missing = [address for address in requested if address not in values]
        if missing and self.read_values is not None:
            values.update({a: redact_value(decode(data)) for a, data in self.read_values(missing).items()})
        return values


_NOTHING: Mapping[str, Any] = {"inputs": {}, "outputs": {}, "steps": []}


def _put_run(db: sqlite3.Connection, run: RunRecord) -> None:
    db.execute(
        "INSERT INTO runs (run, flow, started, records, seconds, interrupted, config) VALUES (?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (run) DO UPDATE SET seconds = excluded.seconds, interrupted = excluded.interrupted",
        (run.run, run.flow, run.started, run.records, run.seconds, run.interrupted, run.config),
    )


def _drop_unused_values(db: sqlite3.Connection) -> None:
    used = {config for (config,) in db.execute("SELECT config FROM runs")}
    for (data,) in db.execute("SELECT data FROM traces"):
        used.update(referenced_addresses(decode_trace(data) or _NOTHING))
    unused = [(a,) for (a,) in db.execute("SELECT address FROM contents") if a not in used]
    db.executemany("DELETE FROM contents WHERE address = ?", unused)


def _redacted(value: Any) -> bytes:
    return encode(redact_value(value))
