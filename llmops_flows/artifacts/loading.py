"""Measures the time in which models, indexes and libraries are loaded, which is not part of a stage's latency."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(slots=True)
class Loads:
    """The intervals in which a stage call waited because something was loaded, by itself or by another call.

    `parent`: the loads of the call that this one is part of (the judge that calls a model).
    """

    parent: Loads | None = None
    own: list[tuple[float, float]] = field(default_factory=list)
    others: list[tuple[float, float]] = field(default_factory=list)

    def add(self, start: float, end: float, own: bool) -> None:
        """Something was loaded between these two times of `time.perf_counter`."""
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
        """Seconds in which this call itself loaded something."""
        return sum(end - start for start, end in self.own)


_loads: ContextVar[Loads | None] = ContextVar("llmops_flows_loads", default=None)


def current_loads() -> Loads | None:
    """The loads of the stage call that this thread or task works for."""
    return _loads.get()


@contextmanager
def record_loads(loads: Loads) -> Iterator[None]:
    """Within the block, in this thread or task, record what is loaded."""
    token = _loads.set(loads)
    try:
        yield
    finally:
        _loads.reset(token)


@contextmanager
def loading(*, own: bool = True) -> Iterator[None]:
    """The block loads something (nested loads count as part of it); `own=False`: it waits for another call's load."""
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
