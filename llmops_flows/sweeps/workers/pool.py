"""Worker processes that do one task at a time: one that dies or hangs is replaced, and costs no other's work.

A worker reads one task per line from its standard input, and says a line when it is ready for the first and when one
is done. When its input ends, it ends too: so no worker outlives whoever started it, however that died.
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

from .assignment import Turns

TRIES = 2
"""How often a task may cost a worker its life before it counts as failed."""
STOP = 0.7
"""Seconds that workers have to put things in order when their work is called off."""
END = 30.0
"""Seconds that idle workers have to close what they opened."""
START = 120.0
"""Seconds in which a worker must be ready."""
Done = tuple[int, Mapping[str, Any] | str]
"""Position of a task and what its worker answered; text says why there is no answer."""
_STILLBORN = 3
_TICK = 0.25


@dataclass(frozen=True)
class Task:
    """What to do, as plain data. `path`: its steps; tasks that begin alike are given to one worker."""

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
    """Up to `workers` processes.

    Args:
        command: starts a worker.
        workers: how many there may be at once.
        timeout: seconds that a task may take; None: as long as it likes.
        tick: called a few times a second while tasks are done.
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
        self._heard: queue.Queue[tuple[_Worker, bytes]] = queue.Queue()
        self._stillborn = 0

    def do(self, tasks: Sequence[Task]) -> Iterator[Done]:
        """What came of each task, as it is done.

        Leaving early (an interrupt too) stops what is at work.

        Raises:
            FlowError: workers end before they are ready for work.
        """
        turns, deaths = Turns([task.path for task in tasks], self._size), [0] * len(tasks)
        try:
            while len(turns) or any(worker.task is not None for worker in self._workers):
                self._staff(turns, tasks)
                self._tick()
                for worker, line in self._listen():
                    said = self._said(worker, line)
                    if said is not None:
                        yield said
                for worker in [w for w in self._workers if w.process.poll() is not None]:
                    yield from self._died(worker, turns, deaths)
                yield from self._overdue()
        finally:
            if any(worker.task is not None for worker in self._workers):
                self.close(STOP)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(END if kind is None else STOP)

    def close(self, seconds: float = END) -> None:
        """Let the workers end, and end those that do not within so many seconds."""
        until = time.monotonic() + seconds
        for worker in self._workers:
            _shut(worker.process.stdin)
        for worker in self._workers:
            try:
                worker.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                pass
            _kill(worker.process)
        self._workers.clear()

    # -- workers ---------------------------------------------------------------------------------------------------

    def _staff(self, turns: Turns, tasks: Sequence[Task]) -> None:
        """Give each idle worker a task, and start workers for tasks that are left."""
        for worker in self._workers:
            if worker.ready and worker.task is None and (number := turns.take(worker.slot)) is not None:
                worker.task = number
                worker.deadline = time.monotonic() + (self._timeout or float("inf"))
                _send(worker.process.stdin, tasks[number].data)
        coming = sum(1 for worker in self._workers if not worker.ready)
        free = sorted(set(range(self._size)) - {worker.slot for worker in self._workers})
        for slot in free[: max(0, len(turns) - coming)]:
            self._start(slot)

    def _start(self, slot: int) -> None:
        process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        worker = _Worker(slot, process)
        self._workers.append(worker)
        worker.reader = threading.Thread(target=self._read, args=(worker,), daemon=True)
        worker.reader.start()

    def _read(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        with worker.process.stdout as lines:
            for line in lines:
                self._heard.put((worker, line))

    def _listen(self) -> Iterator[tuple[_Worker, bytes]]:
        """What workers say within a moment."""
        try:
            yield self._heard.get(timeout=_TICK)
            while True:
                yield self._heard.get_nowait()
        except queue.Empty:
            return

    def _said(self, worker: _Worker, line: bytes) -> Done | None:
        if not line.endswith(b"\n"):
            return None  # it died in the middle of a word
        worker.deadline, self._stillborn = float("inf"), 0
        if not worker.ready:
            worker.ready = True
            return None
        number, worker.task = worker.task, None
        return None if number is None else (number, json.loads(line))

    # -- trouble ---------------------------------------------------------------------------------------------------

    def _died(self, worker: _Worker, turns: Turns, deaths: list[int]) -> Iterator[Done]:
        _kill(worker.process)  # whatever it started goes with it
        if worker.reader is not None:
            worker.reader.join(1.0)
        if any(heard is worker for heard, _ in list(self._heard.queue)):
            return  # its last words first
        self._workers.remove(worker)
        cause, guess = _cause(worker.process.returncode)
        if not worker.ready:
            self._stillborn += 1
            if self._stillborn >= _STILLBORN:
                raise FlowError(f"worker processes end before they can work: {cause}{guess}")
        if worker.task is None:
            return
        deaths[worker.task] += 1
        if deaths[worker.task] < TRIES:
            turns.again(worker.task)
        else:
            yield worker.task, f"{cause}, each of {TRIES} times{guess}"

    def _overdue(self) -> Iterator[Done]:
        now = time.monotonic()
        for worker in [worker for worker in self._workers if worker.deadline < now]:
            self._workers.remove(worker)
            _kill(worker.process)
            if worker.task is None:
                raise FlowError(f"a worker process was not ready for work after {START:g} s")
            yield worker.task, f"it took longer than {self._timeout:g} s (sweep.timeout), and was stopped"


def _cause(code: int) -> tuple[str, str]:
    """What ended a process, and a guess why."""
    if code >= 0:
        return f"its process ended with exit code {code}", ""
    try:
        name = f" ({signal.Signals(-code).name})"
    except ValueError:
        name = ""
    return f"its process was killed by signal {-code}{name}", ": out of memory?" if code == -9 else ""


def _send(pipe: IO[bytes] | None, data: Mapping[str, Any]) -> None:
    """Hand a task over; a worker that is dead by now is noticed elsewhere."""
    try:
        assert pipe is not None
        pipe.write(json.dumps(data).encode() + b"\n")
        pipe.flush()
    except OSError:
        pass


def _shut(pipe: IO[bytes] | None) -> None:
    try:
        assert pipe is not None
        pipe.close()
    except OSError:
        pass


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process, and whatever it started in its session."""
    try:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except OSError:
        pass
    _shut(process.stdin)
    process.wait()
