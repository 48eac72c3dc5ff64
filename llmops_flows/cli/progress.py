"""Shows the progress of a run on a terminal: the running stage and its records."""

from __future__ import annotations

import sys
from typing import TextIO

from llmops_flows.core.events import Event, Sink
from llmops_flows.core.plural import plural


class Progress:
    """One line that is overwritten, and cleared at the end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._total = 0
        self._tokens = 0
        self._finished: list[str] = []

    def on(self, event: Event) -> None:
        if event.kind == "run_started":
            self._total = event.data["records"]
        elif event.kind == "stage_started":
            self._tokens = 0
            self._show(f"{event.stage} ({len(event.data['ids'])} of {self._total})")
        elif event.kind == "token":
            self._tokens += 1
            if self._tokens % 10 == 0:
                self._show(f"{event.stage}: {plural(self._tokens, 'token')}")
        elif event.kind == "stage_finished":
            self._finished.append(event.stage)
        elif event.kind == "run_finished":
            self._show("")

    def close(self) -> None:
        """Nothing to release."""

    def _show(self, text: str) -> None:
        finished = " ".join(f"{name} ✓" for name in self._finished[-4:])
        self._stream.write(f"\r\x1b[2K{finished}  {text}" if text else "\r\x1b[2K")
        self._stream.flush()


def progress_sinks() -> list[Sink]:
    """A progress line when standard error is a terminal; nothing in a pipe or a log."""
    return [Progress(sys.stderr)] if sys.stderr.isatty() else []
