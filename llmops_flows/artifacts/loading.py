"""Measures the loading time of models, indexes and libraries, which is not part of a stage's latency."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(slots=True)
class Loads:
    """The intervals in which a stage call waited for a load.

    Attributes:
        parent: the loads of the surrounding call (a judge that calls a model).
        own: start and end of the loads of this call.
        others: start and end of the loads of other calls that this call waited for.
    """

    parent: Loads | None = None
    own: list[tuple[float, float]] = field(default_factory=list)
    others: list[tuple[float, float]] = field(default_factory=list)

    def add(self, start: float, end: float, own: bool) -> None:
        """Add the interval of a load (`time.perf_counter`)."""
        (self.own if own else self.others).append((start, end))
        if self.parent is not None:
            self.parent.add(start, end, own)

    def paused(self, until: float) -> float:
        """Seconds of loading before `until`; overlapping intervals count once."""
        total = reached = 0.0
        for start, end in sorted(self.own + self.others):
            start, end = max(start, reached), min(end, until)
            if end > start:
                total, reached = total + end - start, end
        return total

    def own_seconds(self) -> float:
        """Seconds of the loads of this call."""
        return sum(end - start for start, end in self.own)


_loads: ContextVar[Loads | None] = ContextVar("llmops_flows_loads", default=None)


def current_loads() -> Loads | None:
    """The loads of the current stage call; None outside a stage call."""
    return _loads.get()


@contextmanager
def record_loads(loads: Loads) -> Iterator[None]:
    """Within the block, record the loads of this thread or task."""
    token = _loads.set(loads)
    try:
        yield
    finally:
        _loads.reset(token)


@contextmanager
def loading(*, own: bool = True) -> Iterator[None]:
    """Record the block as a load. Nested loads are part of it. `own=False`: the block waits for another call's load."""
    loads = _loads.get()
    if loads is None:
        yield
        return
    token, start = _loads.set(None if own else loads), time.perf_counter()
    try:
        yield
    finally:
        _loads.reset(token)
        loads.add(start, time.perf_counter(), own)
