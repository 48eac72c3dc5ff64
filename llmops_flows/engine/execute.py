"""One stage over jobs: each is run in its thread, through the gate, by its fallback, and timed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Protocol, TypeVar, cast

from llmops_flows.artifacts.loading import current, noted
from llmops_flows.calls.budget_meter import CallCost, spending
from llmops_flows.calls.cost import bill
from llmops_flows.calls.retry import Allowance
from llmops_flows.core.errors import BackendError, DeadlineExceeded, FlowError, StageError
from llmops_flows.core.limits import Limits
from llmops_flows.core.plural import plural
from llmops_flows.core.stage import Call, Outcome, Stage

from .context import ExecutionContext
from .event_loop import run_concurrently
from .stage_call import StageCall, StageResult, Stopwatch
from .user_frame import user_frame

T = TypeVar("T")


class Gated(Protocol):
    """A stage that calls a service."""

    limits: Limits

    @property
    def backend(self) -> str: ...


async def execute(
    stage: Stage, jobs: Sequence[StageCall], context: ExecutionContext, landed: Callable[[StageResult], None]
) -> None:
    """Compute jobs, and tell each one that is done as soon as it is. Errors come as `Done.error`, never raised."""
    if type(stage).run_many is not None and (len(jobs) > 1 or not hasattr(type(stage), "run")):
        for first in range(0, len(jobs), stage.batch):
            await _many(stage, jobs[first : first + stage.batch], context, landed)
    elif stage.inline:
        for job in jobs:
            _inline(stage, job, landed)
    elif len(jobs) == 1:
        await _one(stage, jobs[0], context, landed)
    else:
        await run_concurrently(*(_one(stage, job, context, landed) for job in jobs))


def _inline(stage: Stage, job: StageCall, landed: Callable[[StageResult], None]) -> None:
    answer: Outcome | None = None
    error: FlowError | None = None
    job.watch.begin()
    try:
        with noted(job.watch.loads):
            answer = outcome(stage.run(**_arguments(stage, job.inputs, job.call)))
    except (Exception, SystemExit) as raised:
        error = failure(raised, job.call)
    landed(StageResult(job, answer, error, job.watch.read()))


async def _one(
    stage: Stage,
    job: StageCall,
    context: ExecutionContext,
    landed: Callable[[StageResult], None],
    failed: StageError | None = None,
) -> None:
    """One job. `failed`: the stage has been tried, and this came of it."""
    answer: Outcome | None = None
    error: FlowError | None = None
    try:
        answer = await _answer(stage, job, context, failed)
    except BaseException as raised:
        if _called_off(raised):
            raise
        error = failure(raised, job.call)
    landed(StageResult(job, answer, error, job.watch.read()))


async def _answer(stage: Stage, job: StageCall, context: ExecutionContext, error: StageError | None) -> Outcome:
    """The stage's answer; where it fails for good, its fallback's, or that one's fallback's."""
    allowance = job.allowance or Allowance()
    failed: list[tuple[Stage, StageError]] = []
    asked: Stage | None = stage
    while asked is not None:
        if error is None:
            try:
                answer, tries = await _asked(asked, job, context, allowance)
                return _noted(answer, asked, tries, failed)
            except (BackendError, DeadlineExceeded) as raised:
                error = raised
        failed.append((asked, error))
        asked, error = fallback(asked) if job.repeatable() else None, None
    raise _all(failed)


async def _asked(stage: Stage, job: StageCall, context: ExecutionContext, allowance: Allowance) -> tuple[Outcome, int]:
    """One stage's answer, and how often it had to be tried."""
    lacks = [slot for slot, required in stage.reads.items() if required and slot not in job.inputs]
    if lacks:
        raise StageError(f"{_name(stage)} reads {', '.join(map(repr, lacks))}, which the record does not have")
    tries = 0

    async def attempt(told: Callable[[Call], Call], placed: bool) -> Any:
        nonlocal tries
        tries += 1
        arguments = _arguments(stage, job.inputs, told(job.call))
        return await _worked(lambda: stage.run(**arguments), type(stage).run, job.watch, context, placed)

    pays = bill(stage, [job.inputs], context.budget_meter)
    answer = await _through(stage, job.call, context, attempt, type(stage).run, pays, allowance, job.repeatable)
    return outcome(answer), tries


async def _many(
    stage: Stage, jobs: Sequence[StageCall], context: ExecutionContext, landed: Callable[[StageResult], None]
) -> None:
    """One call for a whole batch. If it fails as a whole, each job fails with the same cause."""
    work: Callable[..., Any] = cast(Callable[..., Any], type(stage).run_many)
    watch, inputs = jobs[0].watch, [job.inputs for job in jobs]

    async def attempt(told: Callable[[Call], Call], placed: bool) -> Any:
        calls = [told(job.call) for job in jobs]
        return await _worked(lambda: work(stage, inputs, calls), work, watch, context, placed)

    try:
        pays = bill(stage, inputs, context.budget_meter)
        answers = list(await _through(stage, jobs[0].call, context, attempt, work, pays))
        if len(answers) != len(jobs):
            raise StageError(f"run_many gave {plural(len(answers), 'answer')} to {plural(len(jobs), 'question')}")
    except BaseException as raised:
        if _called_off(raised):
            raise
        answers = [raised] * len(jobs)
    timed, later = watch.read(len(jobs)), []
    for job, answer in zip(jobs, answers, strict=True):
        if isinstance(answer, (BackendError, DeadlineExceeded)) and fallback(stage) is not None:
            later.append(_one(stage, job, context, landed, answer))
        elif isinstance(answer, BaseException):
            landed(StageResult(job, None, failure(answer, job.call), timed))
        else:
            landed(StageResult(job, outcome(answer), None, timed))
    if later:
        await run_concurrently(*later)


async def _through(
    stage: Stage,
    call: Call,
    context: ExecutionContext,
    attempt: Callable[[Callable[[Call], Call], bool], Awaitable[T]],
    work: Callable[..., Any],
    pays: CallCost | None,
    allowance: Allowance | None = None,
    repeatable: Callable[[], bool] = lambda: True,
) -> T:
    """Let an attempt go: through the gate to its service, through the stage's own door, or at once.

    The attempt is given what tells a call its deadline and its end, and whether it has a place of its own already.
    """
    if not stage.backend:
        placed = stage.max_concurrency is not None
        async with context.gate.door(stage.configuration).place(stage.max_concurrency) if placed else nullcontext():
            freely = partial(attempt, lambda one: one, placed)
            return await (freely() if pays is None else pays.paid(freely))
    limits = cast(Gated, stage).limits
    own = stage.max_concurrency or (None if iscoroutinefunction(work) else context.threads.workers)
    parallel = min((most for most in (own, limits.parallel) if most), default=None)

    async def timed(seconds: float) -> T:
        over = False

        def told(one: Call) -> Call:
            return replace(one, deadline=time.monotonic() + seconds, cancelled=lambda: over or one.cancelled())

        try:
            return await attempt(told, True)
        finally:
            over = True

    return await context.gate.call(
        stage.backend, limits, timed,
        parallel=parallel, allowance=allowance, until=call.deadline, repeatable=repeatable, bill=pays,
    )  # fmt: skip


async def _worked(
    work: Callable[[], Any], kind: Callable[..., Any], watch: Stopwatch, context: ExecutionContext, placed: bool
) -> Any:
    """Do the work: here if it is a coroutine, else in a thread. The watch runs from when it really begins."""
    watch.loads.above = current()

    def begun() -> Any:
        watch.begin()
        with noted(watch.loads), spending(context.budget_meter):
            return work()

    if not iscoroutinefunction(kind):
        return await context.threads.run(begun, placed=placed)
    watch.begin()
    with noted(watch.loads), spending(context.budget_meter):
        return await work()


def _called_off(error: BaseException) -> bool:
    """Whether this is the end of the run, and not of one stage that was cancelled or that left by sys.exit."""
    task = asyncio.current_task()
    cancelled = isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
    return cancelled or isinstance(error, GeneratorExit)


def _arguments(stage: Stage, inputs: Mapping[str, Any], call: Call) -> dict[str, Any]:
    arguments = {slot: inputs[slot] for slot in stage.reads if slot in inputs}
    if stage.wants_call:
        arguments["call"] = call
    return arguments


def fallback(stage: Stage) -> Stage | None:
    """The stage that answers when this one fails for good."""
    found = getattr(stage, "fallback", None)
    return found if isinstance(found, Stage) else None


def _name(stage: Stage) -> str:
    return str(getattr(stage, "name", "") or type(stage).__name__)


def _noted(answer: Outcome, stage: Stage, tries: int, failed: Sequence[tuple[Stage, StageError]]) -> Outcome:
    """The answer, saying which model gave it, for whom, and at which try. A fallback's answer is not kept."""
    notes = dict(answer.notes)
    if hasattr(stage, "name") and (stage.backend or failed):
        notes.setdefault("model", _name(stage))
    if tries > 1:
        notes["attempts"] = tries
    if not failed:
        return replace(answer, notes=notes) if len(notes) > len(answer.notes) else answer
    first, why = failed[0]
    notes |= {"fallback_for": _name(first), "fallback_reason": str(why)}
    return replace(answer, cacheable=False, notes=notes)


def _all(failed: Sequence[tuple[Stage, StageError]]) -> StageError:
    """One error for a chain of which nobody answered."""
    (_, first), *others = failed
    if not others:
        return first
    rest = "; ".join(f"then its fallback {_name(stage)}: {error}" for stage, error in others)
    about = {name: getattr(first, name) for name in ("status", "retry_after", "retryable") if hasattr(first, name)}
    error = type(first)(f"{first}; {rest}", **about)
    error.__cause__ = others[-1][1]
    return error


def outcome(answer: Any) -> Outcome:
    """What a stage returned, as an Outcome."""
    return answer if isinstance(answer, Outcome) else Outcome(answer)


def failure(error: BaseException, call: Call) -> FlowError:
    """The error of a stage, named after the stage and the record it failed on."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, FlowError):
        if isinstance(error, StageError) and not error.stage:
            error.stage = call.stage
        return error
    name, place = type(error).__name__, user_frame(error)
    said = f"{name}: {error}" if str(error) else name
    told = StageError(f"{said} ({place})" if place else said, stage=call.stage, kind=name)
    told.__cause__ = error
    return told
