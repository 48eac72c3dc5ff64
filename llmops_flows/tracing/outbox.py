"""The delivery queue of LangSmith and every other exporter: the traces that each exporter has not delivered yet."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from llmops_flows.core.trace import Trace

from .trace_file import TraceFile


class Outbox:
    """The table `deliveries` of the trace store: one row for each exporter and trace, which outlives the process.

    Args:
        file: the trace store's file.
        select: runs a query that returns the column `data` of `traces`, and decodes the traces.
    """

    def __init__(self, file: TraceFile, select: Callable[..., list[Trace]]) -> None:
        self._file = file
        self._select = select

    @property
    def path(self) -> Path:
        """The trace store's file."""
        return self._file.path

    def pending(self, exporter: str, limit: int = 100) -> list[Trace]:
        """Traces that this exporter has not delivered yet, oldest first."""
        query = (
            "SELECT traces.data FROM deliveries JOIN traces ON traces.id = deliveries.id "
            "WHERE exporter = ? AND shipped IS NULL ORDER BY traces.seq LIMIT ?"
        )
        return self._select(query, exporter, limit)

    def pending_counts(self) -> dict[str, int]:
        """Exporter to its number of pending traces; exporters without pending traces are left out."""
        query = "SELECT exporter, count(*) FROM deliveries WHERE shipped IS NULL GROUP BY exporter"
        return {str(exporter): int(count) for exporter, count in self._file.rows(query)}

    def mark_delivered(self, exporter: str, ids: Iterable[str]) -> None:
        """Record that these traces have arrived, so that this exporter never delivers them again."""
        rows = [(exporter, id, time.time()) for id in ids]
        self._file.write(lambda db: db.executemany("INSERT OR REPLACE INTO deliveries VALUES (?, ?, ?)", rows))

    def enqueue(self, exporter: str, run: str | None = None) -> None:
        """Queue the traces of a run (None: of all runs) for an exporter that was not configured then."""
        where, parameters = ("WHERE run = ?", [run]) if run is not None else ("", [])
        query = f"INSERT OR IGNORE INTO deliveries SELECT ?, id, NULL FROM traces {where}"
        self._file.write(lambda db: db.execute(query, [exporter, *parameters]))


def add_deliveries(db: sqlite3.Connection, exporters: Sequence[str], ids: Sequence[str]) -> None:
    """Queue new traces for exporters, in the transaction that writes them."""
    rows = [(exporter, id) for exporter in exporters for id in ids]
    db.executemany("INSERT OR IGNORE INTO deliveries VALUES (?, ?, NULL)", rows)
