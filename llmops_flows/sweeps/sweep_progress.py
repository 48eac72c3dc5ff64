"""Show the progress of a sweep: one line that is updated on a terminal, a line every half minute in a log."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import TextIO

from llmops_flows.core.events import Event

TERMINAL_INTERVAL = 0.1
"""Seconds between two updates on a terminal."""
LOG_INTERVAL = 30.0
"""Seconds before the first line in a log, and between two lines. A short sweep logs nothing."""
_CLEAR_LINE = "\r\x1b[2K"


class SweepProgress:
    """Shows the number of finished records, the cached share, the elapsed time, and an estimate of the remaining time.

    As a sink, it counts the records of the current stage, over all runs.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._is_terminal = self._stream.isatty()
        self._start = self._last_shown = clock()
        self._started_at: dict[str, float] = {}
        self._records = 0
        self._started: Counter[str] = Counter()
        self._finished: Counter[str] = Counter()
        self._states: Counter[str] = Counter()

    def on(self, event: Event) -> None:
        if event.kind == "run_started":
            self._records += event.data["records"]
        elif event.kind == "stage_started":
            self._started[event.stage] += len(event.data["ids"])
            self._started_at.setdefault(event.stage, self._clock())
        elif event.kind == "stage_progress":
            self._show_stage(event.stage, event.data["done"])
        elif event.kind == "stage_finished":
            self._finished[event.stage] += len(event.data["spans"])
            self._states.update(span.state for span in event.data["spans"].values())
            self._show_stage(event.stage, 0)

    def _show_stage(self, stage: str, new: int) -> None:
        """`new`: how many distinct results of the stage are computed but not yet assigned to their records."""
        finished = self._finished[stage]
        done = finished + min(new, self._started[stage] - finished)
        self.show(stage, done, self._records, self._states["known"] / (self._states.total() or 1))

    def close(self) -> None:
        """Clear the line on a terminal."""
        if self._is_terminal:
            self._stream.write(_CLEAR_LINE)
            self._stream.flush()

    def show(self, label: str, done: int, total: int, cached: float) -> None:
        """Show progress if the interval has passed. `cached`: the share from the cache, from 0 to 1."""
        now = self._clock()
        started_at = self._started_at.setdefault(label, now)
        if now - self._last_shown < (TERMINAL_INTERVAL if self._is_terminal else LOG_INTERVAL):
            return
        self._last_shown = now
        left = f", about {_format((now - started_at) / done * (total - done))} left" if done else ""
        line = f"{label} {done:,} of {total:,}, {cached:.0%} cached, {_format(now - self._start)}{left}"
        self._stream.write(f"{_CLEAR_LINE}{line}" if self._is_terminal else f"{line}\n")
        self._stream.flush()


def _format(seconds: float) -> str:
    """Seconds as 0:07, 12:30, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
