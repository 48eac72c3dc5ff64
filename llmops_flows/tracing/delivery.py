"""Delivers what waits in the outbox: exporter by exporter, each by one process at a time, within a time limit."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmops_flows.core.errors import BackendError, FlowError
from llmops_flows.core.plural import plural
from llmops_flows.core.redaction import redact
from llmops_flows.core.trace import Exporter, Trace

from .trace_store import TraceStore

_BATCH = 20
"""Traces that are sent at once."""
_HOPELESS = (400, 409, 413, 422)
"""What a service answers when it is one of the traces that it does not like."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of delivering: how many traces arrived and how many still wait, and why ("" when none does)."""

    exporter: str
    arrived: int
    waiting: int
    error: str = ""

    def __str__(self) -> str:
        if self.waiting:
            why = f": {self.error}" if self.error else ""
            return f"{self.exporter}: {plural(self.waiting, 'trace waits', 'traces wait')}{why}"
        return f"{self.exporter}: {plural(self.arrived, 'trace')} delivered"


def deliver(store: TraceStore, exporters: Mapping[str, Exporter], *, until: float) -> list[Delivery]:
    """Deliver what is pending, until everything has arrived or `until` (of `time.monotonic`) has come.

    What fails is told, not raised; it stays pending.
    """
    return [_one(store, name, exporter, until) for name, exporter in exporters.items()]


def _one(store: TraceStore, name: str, exporter: Exporter, until: float) -> Delivery:
    tried: set[str] = set()
    arrived, error = 0, ""
    with _alone(store.path, name, until) as alone:
        while alone and not error and time.monotonic() < until:
            batch = [t for t in store.pending(name, _BATCH + len(tried)) if t.id not in tried][:_BATCH]
            if not batch:
                break
            tried.update(trace.id for trace in batch)
            ids, error = _send(exporter, batch)
            store.shipped(name, ids)
            arrived += len(ids)
    waiting = store.waiting().get(name, 0)
    if waiting and not error:
        error = "not all of them arrived" if alone and time.monotonic() < until else "there was no time left"
    return Delivery(name, arrived, waiting, error)


def _send(exporter: Exporter, batch: Sequence[Trace]) -> tuple[list[str], str]:
    """The ids that arrived, and the trouble that makes it useless to go on. A bad trace does not hold up others."""
    try:
        return exporter.deliver(batch), ""
    except BackendError as error:
        if error.status in _HOPELESS and len(batch) > 1:
            return _singly(exporter, batch)
        return [], "" if error.status in _HOPELESS else told(error)
    except Exception as error:
        return [], told(error)


def _singly(exporter: Exporter, batch: Sequence[Trace]) -> tuple[list[str], str]:
    arrived: list[str] = []
    for trace in batch:
        ids, error = _send(exporter, [trace])
        arrived += ids
        if error:
            return arrived, error
    return arrived, ""


def told(error: Exception) -> str:
    """An error in one line, secrets masked."""
    text = str(error) if isinstance(error, FlowError) else f"{type(error).__name__}: {error}"
    return redact(" ".join(text.split()))[:500]


@contextmanager
def _alone(path: Path, exporter: str, until: float) -> Iterator[bool]:
    """The sole right to deliver for an exporter; False when another process had it all the time.

    It is the lock of an empty SQLite file: it works on every system, and dies with its process.
    """
    lock = path.with_name(f"{path.name}.{exporter}.lock")
    db = sqlite3.connect(lock, timeout=max(0.0, until - time.monotonic()), isolation_level=None)
    try:
        try:
            db.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            yield False
        else:
            yield True
    finally:
        db.close()


Tell = Callable[[Delivery], None]
"""Hears of every attempt."""


class Backoff:
    """Seconds to wait after failures in a row: 1, 2, 4 … 60; none after a success."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def after(self, failed: bool) -> None:
        self.seconds = min(60.0, self.seconds * 2 or 1.0) if failed else 0.0
