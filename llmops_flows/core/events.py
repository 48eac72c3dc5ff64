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
        host (what the surrounding application passed).
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
    """Listens to the events of runs. Called in order, from the runner's thread: be quick, or hand over.

    What a sink raises never reaches the answer: it is reported once, as a warning; `lost` may say what it means
    ("traces are not kept").
    A sink of one run may say `live = True`: it shows pieces of the answer to a reader as they come. A call that fails
    after its first piece is then not tried again, since what was read cannot be taken back.
    """

    def on(self, event: Event) -> None:
        """Take one event."""
        ...

    def close(self) -> None:
        """No more events come."""
        ...
