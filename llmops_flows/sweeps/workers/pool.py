"""A pool of worker processes that run one task at a time. A worker that dies or hangs is replaced.

A worker reads one task per line from its standard input. It writes one line when it is ready, and one line per result.
It exits when its input ends, so no worker outlives the process that started it.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from llmops_flows.core.errors import FlowError

from .task_queue import TaskQueue

ATTEMPTS = 2
"""Number of workers that a task may kill before it counts as failed."""
STOP = 0.7
"""Seconds that interrupted workers have for cleanup."""
END = 30.0
"""Seconds that idle workers have to release their resources."""
START = 120.0
"""Seconds within which a worker must be ready."""
TaskResult = tuple[int, Mapping[str, Any] | str]
"""The position of a task, and its result; a string is the error of a task without a result."""
_MAX_FAILED_STARTS = 3
_POLL_INTERVAL = 0.25


@dataclass(frozen=True)
class Task:
    """A task as plain data. `path`: its steps; tasks with a common prefix run in the same worker."""

    data: Mapping[str, Any]
    path: Sequence[str] = ()


@dataclass(eq=False)
class _Worker:
    slot: int
    process: subprocess.Popen[bytes]
    ready: bool = False
    task: int | None = None
    deadline: float = field(default_factory=lambda: time.monotonic() + START)
    reader: threading.Thread | None = None


class WorkerPool:
    """A pool of up to `workers` processes.

    Args:
        command: starts a worker.
        workers: the maximum number of workers.
        timeout: maximum seconds per task.
        tick: called several times per second while tasks run.
    """

    def __init__(
        self,
        command: Sequence[str],
        workers: int,
        *,
        timeout: float | None = None,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._command = list(command)
        self._size = workers
        self._timeout = timeout
        self._tick = tick
        self._workers: list[_Worker] = []
        self._lines: queue.Queue[tuple[_Worker, bytes]] = queue.Queue()
        self._failed_starts = 0

    def run(self, tasks: Sequence[Task]) -> Iterator[TaskResult]:
        """Run tasks and yield the result of each as soon as it is known.

        Closing the iterator early, or an interrupt, stops the running tasks.

        Raises:
            FlowError: workers exit before they are ready.
        """
        queued, deaths = TaskQueue([task.path for task in tasks], self._size), [0] * len(tasks)
        try:
            while len(queued) or any(worker.task is not None for worker in self._workers):
                self._assign(queued, tasks)
                self._tick()
                for worker, line in self._read_lines():
                    result = self._result(worker, line)
                    if result is not None:
                        yield result
                for worker in [worker for worker in self._workers if worker.process.poll() is not None]:
                    yield from self._replace_dead(worker, queued, deaths)
                yield from self._kill_overdue()
        finally:
            if any(worker.task is not None for worker in self._workers):
                self.close(STOP)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(END if kind is None else STOP)

    def close(self, seconds: float = END) -> None:
        """Close the input of all workers, and kill those that do not end within `seconds`."""
        deadline = time.monotonic() + seconds
        for worker in self._workers:
            _close(worker.process.stdin)
        for worker in self._workers:
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                pass
            _kill(worker.process)
        self._workers.clear()

    def _assign(self, queued: TaskQueue, tasks: Sequence[Task]) -> None:
        """Send a task to each idle worker, and start workers for the remaining tasks."""
        for worker in self._workers:
            if worker.ready and worker.task is None and (position := queued.take(worker.slot)) is not None:
                worker.task = position
                worker.deadline = time.monotonic() + (self._timeout or float("inf"))
                _send(worker.process.stdin, tasks[position].data)
        starting = sum(1 for worker in self._workers if not worker.ready)
        free_slots = sorted(set(range(self._size)) - {worker.slot for worker in self._workers})
        for slot in free_slots[: max(0, len(queued) - starting)]:
            self._start(slot)

    def _start(self, slot: int) -> None:
        process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        worker = _Worker(slot, process)
        self._workers.append(worker)
        worker.reader = threading.Thread(target=self._read_output, args=(worker,), daemon=True)
        worker.reader.start()

    def _read_output(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        with worker.process.stdout as lines:
            for line in lines:
                self._lines.put((worker, line))

    def _read_lines(self) -> Iterator[tuple[_Worker, bytes]]:
        """The lines that workers write within one poll interval."""
        try:
            yield self._lines.get(timeout=_POLL_INTERVAL)
            while True:
                yield self._lines.get_nowait()
        except queue.Empty:
            return

    def _result(self, worker: _Worker, line: bytes) -> TaskResult | None:
        if not line.endswith(b"\n"):
            return None  # the worker died while it wrote the line
        worker.deadline, self._failed_starts = float("inf"), 0
        if not worker.ready:
            worker.ready = True
            return None
        position, worker.task = worker.task, None
        return None if position is None else (position, json.loads(line))

    def _replace_dead(self, worker: _Worker, queued: TaskQueue, deaths: list[int]) -> Iterator[TaskResult]:
        """Remove a dead worker, and retry its task or yield its error."""
        _kill(worker.process)  # also ends the processes that the worker started
        if worker.reader is not None:
            worker.reader.join(1.0)
        if any(writer is worker for writer, _ in list(self._lines.queue)):
            return  # process its remaining lines first
        self._workers.remove(worker)
        cause, hint = _cause(worker.process.returncode)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _MAX_FAILED_STARTS:
                raise FlowError(f"worker processes end before they are ready: {cause}{hint}")
        if worker.task is None:
            return
        deaths[worker.task] += 1
        if deaths[worker.task] < ATTEMPTS:
            queued.retry(worker.task)
        else:
            yield worker.task, f"{cause} in each of {ATTEMPTS} attempts{hint}"

    def _kill_overdue(self) -> Iterator[TaskResult]:
        now = time.monotonic()
        for worker in [worker for worker in self._workers if worker.deadline < now]:
            self._workers.remove(worker)
            _kill(worker.process)
            if worker.task is None:
                raise FlowError(f"a worker process was not ready after {START:g} s")
            yield worker.task, f"killed after {self._timeout:g} s (sweep.timeout)"


def _cause(code: int) -> tuple[str, str]:
    """How a process ended, and a hint at the reason."""
    if code >= 0:
        return f"its process ended with exit code {code}", ""
    try:
        name = f" ({signal.Signals(-code).name})"
    except ValueError:
        name = ""
    return f"its process was killed by signal {-code}{name}", ": out of memory?" if code == -9 else ""


def _send(pipe: IO[bytes] | None, data: Mapping[str, Any]) -> None:
    """Send a task. Ignores a dead worker, which the next poll detects."""
    try:
        assert pipe is not None
        pipe.write(json.dumps(data).encode() + b"\n")
        pipe.flush()
    except OSError:
        pass


def _close(pipe: IO[bytes] | None) -> None:
    try:
        assert pipe is not None
        pipe.close()
    except OSError:
        pass


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all processes of its session."""
    try:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except OSError:
        pass
    _close(process.stdin)
    process.wait()
