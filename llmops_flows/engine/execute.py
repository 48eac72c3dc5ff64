"""Computes stage calls: inline on the event loop, concurrently, or in batches, with fallbacks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from llmops_flows.artifacts.loading import record_loads
from llmops_flows.calls.event_loop import first_error
from llmops_flows.calls.retry import Allowance
from llmops_flows.core.errors import FlowError, StageError
from llmops_flows.core.plural import plural
from llmops_flows.core.stage import Call, Stage

from .attempt import Attempt, arguments, as_outcome
from .context import ExecutionContext
from .fallback import Alternative, Failure, annotate, combined_error, following, label
from .stage_call import StageCall, StageResult
from .user_frame import user_frame

Chain = Sequence[Alternative]
Finish = Callable[[StageResult], None]


def execute(chain: Chain, calls: Sequence[StageCall], context: ExecutionContext, finish: Finish) -> Awaitable[None]:
    """Compute calls with the first stage of a chain; a call that fails goes to the next stage.

    `finish` receives each result as soon as it is known, errors included. Only cancellation of the run is raised.
    """
    stage = chain[0].stage
    if type(stage).run_many is not None and (len(calls) > 1 or not hasattr(type(stage), "run")):
        return _execute_batches(chain, calls, context, finish)
    if stage.inline:
        return _execute_inline(chain, calls, context, finish)
    if len(calls) == 1:
        return _execute_one(chain, calls[0], context, finish)
    return _execute_all(chain, calls, context, finish)


async def _execute_inline(chain: Chain, calls: Sequence[StageCall], context: ExecutionContext, finish: Finish) -> None:
    """Run the stage on the event loop, one call after the other."""
    name, stage = chain[0].name, chain[0].stage
    for call in calls:
        call.stopwatch.start()
        try:
            with record_loads(call.stopwatch.loads):
                outcome = as_outcome(stage.run(**arguments(stage, call.inputs, call.call)))
        except (Exception, SystemExit) as raised:
            error = as_flow_error(raised, call.call)
            if rest := following(chain, error):
                await _execute_one(rest, call, context, finish, [(chain[0], error)])
            else:
                finish(StageResult(call, name, None, error, call.stopwatch.read()))
        else:
            finish(StageResult(call, name, outcome, None, call.stopwatch.read()))


async def _execute_all(chain: Chain, calls: Sequence[StageCall], context: ExecutionContext, finish: Finish) -> None:
    with first_error():
        async with asyncio.TaskGroup() as tasks:
            for call in calls:
                tasks.create_task(_execute_one(chain, call, context, finish))


async def _execute_one(
    chain: Chain, call: StageCall, context: ExecutionContext, finish: Finish, failures: Sequence[Failure] = ()
) -> None:
    """Compute one call. `failures`: the stages that failed before, and their errors."""
    name, allowance, failed = (failures[0][0] if failures else chain[0]).name, Allowance(), list(failures)
    while chain:
        alternative = chain[0]
        try:
            _check_inputs(alternative.stage, call)
            attempt = Attempt(alternative.stage, [call], context, allowance)
            async with attempt.admitted() as settle:
                answer = await attempt.run()
                settle(answer)
            outcome = annotate(as_outcome(answer), alternative.stage, attempt.count, failed)
        except BaseException as raised:
            if _ends_run(raised):
                raise
            failed.append((alternative, as_flow_error(raised, call.call)))
        else:
            finish(StageResult(call, alternative.name, outcome, None, call.stopwatch.read()))
            return
        chain = following(chain, failed[-1][1]) if call.repeatable() else ()
    finish(StageResult(call, name, None, combined_error(failed), call.stopwatch.read()))


async def _execute_batches(chain: Chain, calls: Sequence[StageCall], context: ExecutionContext, finish: Finish) -> None:
    """Compute calls with `run_many`, one batch after the other. If `run_many` raises, all calls of the batch fail.

    Failed calls go to the next stage of the chain, one by one.
    """
    alternative = chain[0]
    for start in range(0, len(calls), alternative.stage.batch):
        batch = calls[start : start + alternative.stage.batch]
        attempt = Attempt(alternative.stage, batch, context, batch=True)
        answers: Sequence[object]
        try:
            async with attempt.admitted() as settle:
                answers = list(await attempt.run())
                settle(answers)
            if len(answers) != len(batch):
                returned, expected = plural(len(answers), "answer"), plural(len(batch), "question")
                raise StageError(f"run_many returned {returned} for {expected}")
        except BaseException as raised:
            if _ends_run(raised):
                raise
            answers = [raised] * len(batch)
        times = attempt.stopwatch.read(len(batch))
        with first_error():
            async with asyncio.TaskGroup() as tasks:
                for call, answer in zip(batch, answers, strict=True):
                    if not isinstance(answer, BaseException):
                        finish(StageResult(call, alternative.name, as_outcome(answer), None, times))
                        continue
                    error = as_flow_error(answer, call.call)
                    if rest := following(chain, error):
                        tasks.create_task(_execute_one(rest, call, context, finish, [(alternative, error)]))
                    else:
                        finish(StageResult(call, alternative.name, None, error, times))


def _check_inputs(stage: Stage, call: StageCall) -> None:
    missing = [slot for slot, required in stage.reads.items() if required and slot not in call.inputs]
    if missing:
        raise StageError(f"{label(stage)} reads {', '.join(map(repr, missing))}, which the record does not have")


def _ends_run(error: BaseException) -> bool:
    """Whether the run is cancelled, not only a stage that was cancelled or that called sys.exit."""
    task = asyncio.current_task()
    cancelled = isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
    return cancelled or isinstance(error, GeneratorExit)


def as_flow_error(error: BaseException, call: Call) -> FlowError:
    """The error with the name of its stage. An unexpected exception also names the line of user code that raised it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, FlowError):
        if isinstance(error, StageError) and not error.stage:
            error.stage = call.stage
        return error
    kind, frame = type(error).__name__, user_frame(error)
    message = f"{kind}: {error}" if str(error) else kind
    stage_error = StageError(f"{message} ({frame})" if frame else message, stage=call.stage, kind=kind)
    stage_error.__cause__ = error
    return stage_error
