"""One stage over many records: look up, compute what is missing once, keep it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from inspect import iscoroutinefunction
from typing import Any, Protocol, cast

from .errors import BackendError, DeadlineExceeded, FlowError, StageError
from .gate import Gate, Limits
from .stage import Call, Outcome, Stage


class Gated(Protocol):
    """A stage that calls a service."""

    limits: Limits
    fallback: Stage | None

    @property
    def backend(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Job:
    """One answer to compute: under which key, from which inputs, surrounded by what."""

    key: str
    inputs: Mapping[str, Any]
    call: Call


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a job: an outcome or an error, and how long it took (seconds)."""

    job: Job
    outcome: Outcome | None
    error: FlowError | None
    started: float
    seconds: float


async def execute(stage: Stage, jobs: Sequence[Job], gate: Gate, threads: Executor) -> AsyncIterator[Done]:
    """Compute jobs, each finished one as soon as it is there. Errors come as `Done.error`, never raised."""
    if type(stage).run_many is not None and (len(jobs) > 1 or not hasattr(type(stage), "run")):
        for first in range(0, len(jobs), stage.batch):
            for done in await _many(stage, jobs[first : first + stage.batch], threads):
                yield done
    elif stage.inline:
        for job in jobs:
            yield _inline(stage, job)
    elif len(jobs) == 1:
        yield await _one(stage, jobs[0], gate, threads)
    else:
        tasks = [asyncio.ensure_future(_one(stage, job, gate, threads)) for job in jobs]
        try:
            for task in asyncio.as_completed(tasks):
                yield await task
        finally:
            for pending in tasks:
                pending.cancel()


def _inline(stage: Stage, job: Job) -> Done:
    started, clock = time.time(), time.perf_counter()
    try:
        answer = stage.run(**_arguments(stage, job))
    except Exception as error:
        return Done(job, None, failure(error, job.call), started, time.perf_counter() - clock)
    return Done(job, outcome(answer), None, started, time.perf_counter() - clock)


async def _one(stage: Stage, job: Job, gate: Gate, threads: Executor) -> Done:
    started, clock = time.time(), time.perf_counter()
    try:
        answer = await _answer(stage, job, gate, threads)
    except Exception as error:
        return Done(job, None, failure(error, job.call), started, time.perf_counter() - clock)
    return Done(job, answer, None, started, time.perf_counter() - clock)


async def _answer(stage: Stage, job: Job, gate: Gate, threads: Executor) -> Outcome:
    """The stage's answer; where its service fails for good, the answer of its fallback."""
    if not stage.backend:
        return outcome(await _run(stage, job, threads))
    gated = cast(Gated, stage)

    async def attempt(seconds: float) -> Any:
        timed = replace(job, call=replace(job.call, deadline=time.monotonic() + seconds))
        return await _run(stage, timed, threads)

    try:
        return outcome(await gate.call(gated.backend, gated.limits, attempt))
    except (BackendError, DeadlineExceeded) as error:
        if gated.fallback is None:
            raise
        answer = await _answer(gated.fallback, job, gate, threads)
        return replace(answer, keep=False, notes={**answer.notes, "fallback_for": str(error)})


async def _run(stage: Stage, job: Job, threads: Executor) -> Any:
    arguments = _arguments(stage, job)
    if iscoroutinefunction(type(stage).run):
        return await stage.run(**arguments)
    return await asyncio.get_running_loop().run_in_executor(threads, lambda: stage.run(**arguments))


async def _many(stage: Stage, jobs: Sequence[Job], threads: Executor) -> list[Done]:
    """One call for a whole batch. If it fails as a whole, each job fails with the same cause."""
    started, clock = time.time(), time.perf_counter()
    work: Callable[..., Any] = cast(Callable[..., Any], stage.run_many)
    inputs, calls = [job.inputs for job in jobs], [job.call for job in jobs]
    try:
        if iscoroutinefunction(type(stage).run_many):
            answers = await cast(Awaitable[Any], work(inputs, calls))
        else:
            answers = await asyncio.get_running_loop().run_in_executor(threads, work, inputs, calls)
        if len(answers) != len(jobs):
            raise StageError(f"run_many gave {len(answers)} answers to {len(jobs)} questions")
    except Exception as error:
        answers = [error] * len(jobs)
    seconds = (time.perf_counter() - clock) / len(jobs)
    return [
        Done(job, None, failure(answer, job.call), started, seconds)
        if isinstance(answer, Exception)
        else Done(job, outcome(answer), None, started, seconds)
        for job, answer in zip(jobs, answers, strict=True)
    ]


def _arguments(stage: Stage, job: Job) -> dict[str, Any]:
    return {**job.inputs, "call": job.call} if stage.wants_call else dict(job.inputs)


def outcome(answer: Any) -> Outcome:
    """What a stage returned, as an Outcome."""
    return answer if isinstance(answer, Outcome) else Outcome(answer)


def failure(error: Exception, call: Call) -> FlowError:
    """The error of a stage, named after the stage and the record it failed on."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, FlowError):
        if isinstance(error, StageError) and not error.stage:
            error.stage = call.stage
        return error
    told = StageError(f"{type(error).__name__}: {error}", stage=call.stage, kind=type(error).__name__)
    told.__cause__ = error
    return told
