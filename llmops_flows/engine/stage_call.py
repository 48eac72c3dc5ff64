"""Stage calls: one answer to compute, its stopwatch, and its result."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmops_flows.artifacts.loading import Loads
from llmops_flows.core.errors import FlowError
from llmops_flows.core.stage import Call, Outcome


@dataclass(frozen=True, slots=True)
class StageTimes:
    """When a stage call started (`time.time()`), and its seconds: in total, until the first token, and for loading.

    `seconds` does not include the time for loading a model or index that later calls reuse.
    """

    started: float
    seconds: float
    first_token: float | None = None
    loading: float = 0.0


@dataclass(slots=True)
class Stopwatch:
    """Measures a stage call. Time in a queue does not count."""

    started_at: float = 0.0
    started: float | None = None
    first_token: float | None = None
    loads: Loads = field(default_factory=Loads)

    def start(self) -> None:
        """Start the stopwatch. A second attempt does not restart it."""
        if self.started is None:
            self.started_at, self.started = time.time(), time.perf_counter()

    def token(self) -> None:
        """Record that a part of the answer was shown."""
        if self.first_token is None:
            self.first_token = time.perf_counter()

    def read(self, calls: int = 1) -> StageTimes:
        """The times until now, divided by the number of calls in the batch."""
        self.start()
        assert self.started is not None
        now = time.perf_counter()
        paused, first = self.loads.paused(now), None
        if self.first_token is not None:
            first = max(0.0, self.first_token - self.started - self.loads.paused(self.first_token))
        seconds = max(0.0, now - self.started - paused) / calls
        return StageTimes(self.started_at + paused, seconds, first, self.loads.own_seconds() / calls)


@dataclass(frozen=True, slots=True)
class StageCall:
    """One answer to compute.

    Attributes:
        key: the address of the answer.
        inputs: slot to value.
        call: the `Call` that the stage receives.
        stopwatch: measures the call.
        live: whether tokens are shown to a reader, so that the call is not repeated after the first token.
    """

    key: str
    inputs: Mapping[str, Any]
    call: Call
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    live: bool = False

    def repeatable(self) -> bool:
        return not (self.live and self.stopwatch.first_token is not None)


@dataclass(frozen=True, slots=True)
class StageResult:
    """The outcome or error of a stage call, its times, and the name of the stage that answered."""

    call: StageCall
    stage: str
    outcome: Outcome | None
    error: FlowError | None
    times: StageTimes
