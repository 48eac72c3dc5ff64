"""From `Runner.run` to a component's `run` are few frames, and each file of the package is entered once.

How frames are counted: a run crosses threads and tasks, so the call stack at the component is the concatenation of

1. the thread that called `Runner.run`, down to where it waits for the event loop,
2. the task of the run on the background loop: its chain of suspended coroutines (`cr_await`),
3. each task that the run has started for one call, below the coroutine that waits for it in a TaskGroup,
4. the worker thread of a blocking component, or the coroutines of an asynchronous one.

Only frames of files of this package count. The component's own frame does not.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from types import CoroutineType, FrameType
from typing import Any, ClassVar, cast

import pytest

import llmops_flows
from llmops_flows import Call, Flow, Record, Runner, Stage
from llmops_flows.calls.event_loop import background_loop
from llmops_flows.calls.gate import Gate
from llmops_flows.core.limits import Limits

PACKAGE = Path(llmops_flows.__file__).parent
callers: list[int] = []
paths: list[list[str]] = []
earlier_tasks: set[asyncio.Task[Any]] = set()


def stack(frame: FrameType | None) -> list[str]:
    """The files of a thread's frames, outermost first."""
    files: list[str] = []
    while frame is not None:
        files.append(frame.f_code.co_filename)
        frame = frame.f_back
    return files[::-1]


def awaited(task: asyncio.Task[Any]) -> list[str]:
    """The files of a task's coroutines, outermost first."""
    files: list[str] = []
    coroutine: Any = task.get_coro()
    while isinstance(coroutine, CoroutineType):
        files.append(coroutine.cr_code.co_filename)
        coroutine = coroutine.cr_await
    return files


def record_path() -> None:
    """Called by a component: record the files on the way from `Runner.run` to it."""
    tasks = sorted(
        asyncio.all_tasks(background_loop()) - earlier_tasks,
        key=lambda task: int(task.get_name().removeprefix("Task-")),
    )
    if threading.current_thread().name == "llmops-flows-loop":
        tasks.remove(cast(Any, asyncio.current_task()))  # its coroutines are in this thread's stack
    else:
        while not all(cast(Any, task.get_coro()).cr_suspended for task in tasks):
            time.sleep(0.001)
    waiting = [file for task in tasks for file in awaited(task)]
    files = [*stack(sys._current_frames()[callers[-1]]), *waiting, *stack(sys._getframe(2))]
    paths.append([Path(file).name for file in files if Path(file).is_relative_to(PACKAGE)])


class Blocking(Stage):
    writes: ClassVar[str] = "answer"

    def run(self, question: str) -> str:
        record_path()
        return question


class Coroutine(Stage):
    writes: ClassVar[str] = "answer"

    async def run(self, question: str) -> str:
        record_path()
        return question


class Inline(Blocking):
    inline: ClassVar[bool] = True


class Batch(Stage):
    writes: ClassVar[str] = "answer"

    def run(self, question: str) -> str:
        return question

    def run_many(self, inputs: Sequence[Mapping[str, Any]], calls: Sequence[Call]) -> list[str]:
        record_path()
        return [given["question"] for given in inputs]


class Service:
    """What makes a stage call a service."""

    limits: Limits = Limits()

    @property
    def backend(self) -> str:
        return "service"


class GatedBlocking(Service, Blocking):
    pass


class GatedCoroutine(Service, Coroutine):
    pass


class GatedBatch(Service, Batch):
    pass


def path(stage: Stage, questions: int) -> list[str]:
    callers.append(threading.get_ident())
    paths.clear()
    earlier_tasks.update(asyncio.all_tasks(background_loop()))
    with Runner(gate=Gate(), workers=1) as runner:
        records = [Record.of(str(n), {"question": str(n)}) for n in range(questions)]
        runner.run(Flow(stages={"stage": stage}), records)
    assert all(record.error is None for record in records)
    return paths[-1]


@pytest.mark.parametrize(
    ("stage", "questions", "frames"),
    [
        (Blocking(), 1, 10),
        (Coroutine(), 1, 10),
        (Inline(), 1, 10),
        (Batch(), 3, 10),
        (GatedBlocking(), 1, 14),
        (GatedCoroutine(), 1, 14),
        (GatedBatch(), 3, 14),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Stage) else None,
)
def test_few_frames_lead_to_a_component_and_each_file_is_entered_once(
    stage: Stage, questions: int, frames: int
) -> None:
    files = path(stage, questions)
    assert files[0] == "runner.py" and "stage_executor.py" in files
    assert ("gate.py" in files) is bool(stage.backend)
    assert len(files) <= frames, files
    entered = [file for file, _ in groupby(files)]
    assert len(entered) == len(set(entered)), files


@pytest.mark.parametrize(("stage", "frames"), [(Blocking(), 10), (GatedBlocking(), 14)], ids=["free", "gated"])
def test_a_call_of_many_has_a_path_as_short(stage: Stage, frames: int) -> None:
    files = path(stage, 3)  # the last call: the tasks of the others have ended
    assert len(files) <= frames, files
    entered = [file for file, _ in groupby(files)]
    assert len(entered) == len(set(entered)), files
