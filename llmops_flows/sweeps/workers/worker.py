"""One worker process of a sweep: `python -m llmops_flows.sweeps.workers.worker WORKERS`."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..exit_codes import INTERRUPTED
from ..outcome import PointOutcome
from .job_results import end

if TYPE_CHECKING:
    from llmops_flows.engine.runner import Runner

    from ..grid.points import Point


def task(cell: Point, folder: Path) -> dict[str, Any]:
    """What a worker must know to run a cell, as plain data."""
    from ..in_process import experiment

    found = experiment(cell)
    told = {"number": cell.number, "overrides": list(cell.overrides), "folder": str(folder)}
    return {**told, "config": found.config, "choices": found.choices, "account": found.account}


class _WorkerTasks:
    """The points of one worker: what is opened for one stays open for the next, and so do loaded models."""

    def __init__(self, open: ExitStack) -> None:
        self._open = open
        self._runners: dict[str, Runner] = {}
        self._cells: list[Point] = []

    def do(self, task: Mapping[str, Any]) -> PointOutcome:
        """Run a point. What goes wrong outside of its stages is its failure, too."""
        number = int(task["number"])
        try:
            [outcome] = self._walk(cell(task), Path(task["folder"]))
        except Exception as error:
            return PointOutcome(number, failure=f"{type(error).__name__}: {error}")
        return outcome

    def _walk(self, cell: Point, folder: Path) -> list[PointOutcome]:
        from llmops_flows.config.load import open_runner

        from ..in_process import experiment, means, walk

        found = experiment(cell)
        if means(found) not in self._runners:
            self._runners[means(found)], _ = self._open.enter_context(open_runner(found))
        self._cells.append(cell)
        return list(walk(self._runners[means(found)], [cell], folder))


def cell(task: Mapping[str, Any]) -> Point:
    """The cell of a task. Raises ConfigError."""
    from dataclasses import replace

    from llmops_flows.config.experiment import build_resolved

    from ..grid.points import Point

    experiment = replace(build_resolved(task["config"], choices=task["choices"]), account=task["account"])
    return Point(task["number"], tuple(task["overrides"]), experiment)


class _Channel:
    """The two ends of the talk with whoever started this process. When that one is gone, this process ends."""

    def __init__(self) -> None:
        self._in, self._out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)  # what a component prints is no part of the talk
        self._tasks: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._busy = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def next(self) -> dict[str, Any] | None:
        """The next task; None when there are no more."""
        return self._tasks.get()

    def say(self, value: Any) -> None:
        self._busy.clear()
        self._out.write(json.dumps(value).encode() + b"\n")
        self._out.flush()

    def _listen(self) -> None:
        for line in self._in:
            self._busy.set()
            self._tasks.put(json.loads(line))
        self._tasks.put(None)
        if self._busy.is_set():
            end()


def main(workers: str) -> int:
    """Do points until there are no more, as one of so many workers. Returns 0."""
    from dataclasses import asdict

    from llmops_flows.calls.gate import GATE
    from llmops_flows.config import redacted_output

    GATE.processes = int(workers)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    line = _Channel()
    redacted_output.redact_streams()
    redacted_output.redact_logs()
    try:
        with ExitStack() as open:
            desk = _WorkerTasks(open)
            line.say("ready")
            while (given := line.next()) is not None:
                line.say(asdict(desk.do(given)))
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(INTERRUPTED)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
