"""How far a sweep is: a line that is written over on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import TextIO

from llmops_flows.core.events import Event

LIVE = 0.1
"""Seconds between two lines on a terminal."""
LOGGED = 30.0
"""Seconds between two lines in a log, and before the first one: what is short says nothing."""


class Pace:
    """Tells how much is done of how much, how long that took, and about how long the rest will.

    It may listen to the runs of a sweep: then it counts the answers of the stage at work, those of all runs.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._live = self._stream.isatty()
        self._begun = self._told = clock()
        self._since: dict[str, float] = {}
        self._records = 0
        self._started: Counter[str] = Counter()
        self._finished: Counter[str] = Counter()
        self._states: Counter[str] = Counter()

    def on(self, event: Event) -> None:
        if event.kind == "run_started":
            self._records += event.data["records"]
        elif event.kind == "stage_started":
            self._started[event.stage] += len(event.data["ids"])
            self._since.setdefault(event.stage, self._clock())
        elif event.kind == "stage_progress":
            self._count(event.stage, event.data["done"])
        elif event.kind == "stage_finished":
            self._finished[event.stage] += len(event.data["spans"])
            self._states.update(span.state for span in event.data["spans"].values())
            self._count(event.stage, 0)

    def _count(self, stage: str, new: int) -> None:
        """So many distinct answers of the stage are new, and not yet handed to their records."""
        finished = self._finished[stage]
        done = finished + min(new, self._started[stage] - finished)
        self.tell(stage, done, self._records, self._states["known"] / (self._states.total() or 1))

    def close(self) -> None:
        """Leave nothing behind on a terminal."""
        if self._live:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()

    def tell(self, what: str, done: int, of: int, known: float) -> None:
        """So many of so many are done, and a share (0 to 1) of all so far was known; said when it is time to."""
        now = self._clock()
        since = self._since.setdefault(what, now)
        if now - self._told < (LIVE if self._live else LOGGED):
            return
        self._told = now
        left = f", about {_span((now - since) / done * (of - done))} to go" if done else ""
        line = f"{what} {done:,} of {of:,}, {known:.0%} known, {_span(now - self._begun)}{left}"
        self._stream.write(f"\r\x1b[2K{line}" if self._live else f"{line}\n")
        self._stream.flush()


def _span(seconds: float) -> str:
    """Seconds as 0:07, 12:30, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
