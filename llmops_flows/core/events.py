"""Events of a run, for tracers, trackers, metrics and progress bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from .record import Record

Kind = Literal[
    "run_started",
    "stage_started",
    "stage_progress",
    "token",
    "stage_finished",
    "record_finished",
    "warning",
    "run_finished",
]


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `time` is `time.time()`; the kind decides which other fields are set.

    run_started: data has flow (name), identity, records (how many), config (plain data, may be absent),
        host (the object that the surrounding application passed).
    stage_started: stage, data has ids (of the records) and component (the stage itself).
    stage_progress: stage, data has done and of: distinct answers to compute, of all runs that execute together. The
        event belongs to one of these runs.
    token: stage, record id, data has text.
    stage_finished: stage, data has spans (record id -> Span) and component.
    record_finished: `record` is the whole record with its spans.
    run_finished: data has seconds, interrupted (bool).
    """

    kind: Kind
    run: str
    time: float
    stage: str = ""
    record_id: str = ""
    record: Record | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Sink(Protocol):
    """Receives the events of runs, in order and in the runner's thread, so `on` must return quickly.

    An exception in a sink does not affect the answer. It is logged once as a warning; the optional attribute `lost`
    describes the consequence ("traces are not kept").

    A sink of a single run sets `live = True` if it shows tokens to a reader as they arrive. A call that fails after
    its first token is then not retried.
    """

    def on(self, event: Event) -> None:
        """Handle one event."""
        ...

    def close(self) -> None:
        """Release resources. No further events follow."""
        ...
