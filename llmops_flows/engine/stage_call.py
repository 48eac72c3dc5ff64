"""A job: one answer to compute, with its clock; and what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from llmops_flows.artifacts.loading import Loads
from llmops_flows.calls.retry import Allowance
from llmops_flows.core.errors import FlowError
from llmops_flows.core.stage import Call, Outcome


@dataclass(frozen=True, slots=True)
class StageTimes:
    """When a job began (`time.time()`); seconds that it took, that it loaded something, until its first piece.

    What stood still while something was loaded, once for many answers, counts as not begun.
    """

    started: float
    seconds: float
    first_token: float | None = None
    loading: float = 0.0


@dataclass(slots=True)
class Stopwatch:
    """When a job really began (not: when it was put into a queue), and when its first piece was shown."""

    started: float = 0.0
    begun: float | None = None
    shown: float | None = None
    loads: Loads = field(default_factory=Loads)

    def begin(self) -> None:
        """Somebody works on it from now on. A second try does not set the clock back."""
        if self.begun is None:
            self.started, self.begun = time.time(), time.perf_counter()

    def piece(self) -> None:
        """A piece of the answer was shown."""
        if self.shown is None:
            self.shown = time.perf_counter()

    def read(self, parts: int = 1) -> StageTimes:
        """The times until now, shared by so many."""
        self.begin()
        begun, now = cast(float, self.begun), time.perf_counter()
        stood = self.loads.stood(now)
        first = None if self.shown is None else max(0.0, self.shown - begun - self.loads.stood(self.shown))
        seconds = max(0.0, now - begun - stood) / parts
        return StageTimes(self.started + stood, seconds, first, self.loads.loaded() / parts)


@dataclass(frozen=True, slots=True)
class StageCall:
    """One answer to compute: under which key, from which inputs, surrounded by what.

    allowance: what is left of the bounds on requests, where several stages try to give one answer. live: whether
    somebody reads the pieces as they come, so that an answer that was begun cannot be begun again.
    """

    key: str
    inputs: Mapping[str, Any]
    call: Call
    watch: Stopwatch = field(default_factory=Stopwatch)
    allowance: Allowance | None = None
    live: bool = False

    def repeatable(self) -> bool:
        return not (self.live and self.watch.shown is not None)


@dataclass(frozen=True, slots=True)
class StageResult:
    """What came of a job: an outcome or an error, and when."""

    job: StageCall
    outcome: Outcome | None
    error: FlowError | None
    times: StageTimes
