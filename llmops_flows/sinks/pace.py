"""How far a sweep is: a line that is written over on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from llmops_flows.core.events import Event

LIVE = 0.1
"""Seconds between two lines on a terminal."""
LOGGED = 30.0
"""Seconds between two lines in a log, and before the first one: what is short says nothing."""


class Pace:
    """Tells how much is done of how much, how long that took, and about how long the rest will.

    It listens to the runs of a sweep, and then counts the distinct answers of the stage at work.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._live = self._stream.isatty()
        self._begun = self._told = clock()
        self._at = ("", 0.0)

    def on(self, event: Event) -> None:
        if event.kind == "stage_progress":
            self.tell(event.stage, **event.data)

    def close(self) -> None:
        """Leave nothing behind on a terminal."""
        if self._live:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()

    def tell(self, what: str, done: int, of: int, known: float) -> None:
        """So many of so many are done, and a share of all there is was known; said when it is time to.

        Args:
            what: a stage, or what else is counted.
            known: between 0 and 1.
        """
        now = self._clock()
        if self._at[0] != what:
            self._at = (what, now)
        if now - self._told < (LIVE if self._live else LOGGED):
            return
        self._told = now
        so_far = now - self._at[1]
        left = f", about {_span(so_far / done * (of - done))} to go" if done else ""
        line = f"{what} {done} of {of}, {known:.0%} known, {_span(now - self._begun)}{left}"
        self._stream.write(f"\r\x1b[2K{line}" if self._live else f"{line}\n")
        self._stream.flush()


def _span(seconds: float) -> str:
    """Seconds as 0:07, 12:30, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
