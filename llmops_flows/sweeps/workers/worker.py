"""A worker process of a sweep, which runs one point at a time: `python -m llmops_flows.sweeps.workers.worker WORKERS`.

Its standard input and output are the protocol that `pool` describes.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from llmops_flows.calls.gate import GATE
from llmops_flows.config import redacted_output
from llmops_flows.config.experiment import build_resolved
from llmops_flows.config.load import open_runner
from llmops_flows.engine.runner import Runner

from ..exit_codes import INTERRUPTED
from ..grid.points import Point
from ..in_process import run_batch, runner_key
from ..outcome import PointOutcome
from .process import interrupt_process


def point_task(point: Point, folder: Path) -> dict[str, Any]:
    """The task of a worker that runs a point, as plain data."""
    experiment = point.valid_experiment
    return {
        "number": point.number,
        "overrides": list(point.overrides),
        "folder": str(folder),
        "config": experiment.config,
        "choices": experiment.choices,
        "account": experiment.account,
    }


def task_point(task: Mapping[str, Any]) -> Point:
    """The point of a task. Raises ConfigError."""
    experiment = replace(build_resolved(task["config"], choices=task["choices"]), account=task["account"])
    return Point(task["number"], tuple(task["overrides"]), experiment)


class PointWorker:
    """Runs points. Runners and loaded models stay open from one point to the next."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._runners: dict[str, Runner] = {}
        self._points: list[Point] = []  # keeps the resources of points alive

    def run(self, task: Mapping[str, Any]) -> PointOutcome:
        """Run the point of a task. Any error becomes its failure."""
        try:
            point = task_point(task)
            self._points.append(point)
            [outcome] = run_batch(self._runner(point), [point], Path(task["folder"]))
        except Exception as error:
            return PointOutcome(int(task["number"]), failure=f"{type(error).__name__}: {error}")
        return outcome

    def _runner(self, point: Point) -> Runner:
        key = runner_key(point.valid_experiment)
        if key not in self._runners:
            self._runners[key], _ = self._stack.enter_context(open_runner(point.valid_experiment))
        return self._runners[key]


class PoolChannel:
    """Receives tasks from the pool, and sends results. This process ends when the process of the pool ends."""

    def __init__(self) -> None:
        self._input, self._output = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)  # what components print must not mix with the protocol
        self._tasks: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._busy = threading.Event()
        threading.Thread(target=self._read_tasks, daemon=True).start()

    def next_task(self) -> dict[str, Any] | None:
        """The next task; None at the end."""
        return self._tasks.get()

    def send(self, value: Any) -> None:
        self._busy.clear()
        self._output.write(json.dumps(value).encode() + b"\n")
        self._output.flush()

    def _read_tasks(self) -> None:
        for line in self._input:
            self._busy.set()
            self._tasks.put(json.loads(line))
        self._tasks.put(None)
        if self._busy.is_set():
            interrupt_process()


def main(workers: str) -> int:
    """Run points until the input ends, as one of `workers` processes. Returns 0."""
    GATE.processes = int(workers)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    channel = PoolChannel()
    redacted_output.redact_streams()
    redacted_output.redact_logs()
    try:
        with ExitStack() as stack:
            worker = PointWorker(stack)
            channel.send("ready")
            while (task := channel.next_task()) is not None:
                channel.send(asdict(worker.run(task)))
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(INTERRUPTED)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
