"""Loading, told apart from answering: what a model, an index or a library takes once is no part of a latency."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(slots=True)
class Loads:
    """When the work of a job stood still because something was loaded: by itself, or by somebody it waited for.

    `above`: the same of the work that this work is part of (a judge that asks a model).
    """

    above: Loads | None = None
    own: list[tuple[float, float]] = field(default_factory=list)
    others: list[tuple[float, float]] = field(default_factory=list)

    def add(self, begun: float, ended: float, own: bool) -> None:
        """Something was loaded between these two times of `time.perf_counter`."""
        (self.own if own else self.others).append((begun, ended))
        if self.above is not None:
            self.above.add(begun, ended, own)

    def stood(self, until: float) -> float:
        """Seconds until then in which the work stood still; what was loaded side by side counts once."""
        total = reached = 0.0
        for begun, ended in sorted(self.own + self.others):
            begun, ended = max(begun, reached), min(ended, until)
            if ended > begun:
                total, reached = total + ended - begun, ended
        return total

    def loaded(self) -> float:
        """Seconds that this work itself loaded something."""
        return sum(ended - begun for begun, ended in self.own)


_loads: ContextVar[Loads | None] = ContextVar("llmops_flows_loads", default=None)


def current() -> Loads | None:
    """The loads of the work that this thread or task does."""
    return _loads.get()


@contextmanager
def noted(loads: Loads) -> Iterator[None]:
    """Within the block, in this thread or task, what is loaded is noted there."""
    token = _loads.set(loads)
    try:
        yield
    finally:
        _loads.reset(token)


@contextmanager
def loading(*, own: bool = True) -> Iterator[None]:
    """The block loads something (what is loaded inside is part of it), or with `own=False` waits for who does."""
    loads = _loads.get()
    if loads is None:
        yield
        return
    token, begun = _loads.set(None if own else loads), time.perf_counter()
    try:
        yield
    finally:
        _loads.reset(token)
        loads.add(begun, time.perf_counter(), own)
