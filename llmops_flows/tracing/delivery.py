"""Delivers the traces in the outbox: one process at a time for each exporter, within a time limit."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmops_flows.core.errors import BackendError, FlowError
from llmops_flows.core.plural import plural
from llmops_flows.core.redaction import redact
from llmops_flows.core.trace import Exporter, Trace

from .outbox import Outbox

_BATCH = 20
"""Traces in one request."""
_REJECTED = (400, 409, 413, 422)
"""HTTP statuses with which a service rejects a single trace of the batch."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The outcome of one attempt: the numbers of delivered and pending traces, and the error ("" if none)."""

    exporter: str
    delivered: int
    pending: int
    error: str = ""

    def __str__(self) -> str:
        if self.pending:
            return f"{self.exporter}: {plural(self.pending, 'trace')} pending{f': {self.error}' if self.error else ''}"
        return f"{self.exporter}: {plural(self.delivered, 'trace')} delivered"


def deliver(outbox: Outbox, exporters: Mapping[str, Exporter], *, until: float) -> list[Delivery]:
    """Deliver pending traces until all have arrived, or until the time `until` (`time.monotonic`).

    A failed delivery does not raise an error: the outcome contains the error, and the traces stay pending.
    """
    return [_deliver_for(outbox, name, exporter, until) for name, exporter in exporters.items()]


def _deliver_for(outbox: Outbox, name: str, exporter: Exporter, until: float) -> Delivery:
    tried: set[str] = set()
    delivered, error = 0, ""
    with _delivery_lock(outbox.path, name, until) as acquired:
        while acquired and not error and time.monotonic() < until:
            batch = [t for t in outbox.pending(name, _BATCH + len(tried)) if t.id not in tried][:_BATCH]
            if not batch:
                break
            tried.update(trace.id for trace in batch)
            ids, error = _send(exporter, batch)
            outbox.mark_delivered(name, ids)
            delivered += len(ids)
    pending = outbox.pending_counts().get(name, 0)
    if pending and not error:
        error = "some traces did not arrive" if acquired and time.monotonic() < until else "the time limit was reached"
    return Delivery(name, delivered, pending, error)


def _send(exporter: Exporter, batch: Sequence[Trace]) -> tuple[list[str], str]:
    """The ids that arrived, and the error that stops the delivery. A rejected trace does not block the others."""
    try:
        return exporter.deliver(batch), ""
    except BackendError as error:
        if error.status in _REJECTED and len(batch) > 1:
            return _send_singly(exporter, batch)
        return [], "" if error.status in _REJECTED else _summary(error)
    except Exception as error:
        return [], _summary(error)


def _send_singly(exporter: Exporter, batch: Sequence[Trace]) -> tuple[list[str], str]:
    delivered: list[str] = []
    for trace in batch:
        ids, error = _send(exporter, [trace])
        delivered += ids
        if error:
            return delivered, error
    return delivered, ""


def _summary(error: Exception) -> str:
    """An error in one line, secrets redacted."""
    text = str(error) if isinstance(error, FlowError) else f"{type(error).__name__}: {error}"
    return redact(" ".join(text.split()))[:500]


@contextmanager
def _delivery_lock(path: Path, exporter: str, until: float) -> Iterator[bool]:
    """The exclusive right to deliver for an exporter; False if another process held it until the time limit.

    Uses the lock of an empty SQLite file: SQLite supports a time limit, and releases the lock of a process that ends.
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


class Backoff:
    """Seconds to wait after consecutive failures: 1, 2, 4 … 60; 0 after a success."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def after(self, failed: bool) -> None:
        self.seconds = min(60.0, self.seconds * 2 or 1.0) if failed else 0.0
