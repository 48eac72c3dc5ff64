"""An attempt: executes one stage call or one batch of calls, in a thread or as a coroutine, with its retries."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, cast

from llmops_flows.artifacts.loading import current_loads, record_loads
from llmops_flows.calls.call_context import CallContext, call_context
from llmops_flows.calls.cost import stage_cost
from llmops_flows.calls.gate import ServiceCall
from llmops_flows.calls.retry import Allowance
from llmops_flows.core.stage import Call, Outcome, Stage

from .context import ExecutionContext
from .stage_call import StageCall


class Attempt:
    """Runs a stage for one call, or its `run_many` for a batch.

    Args:
        stage: the stage.
        calls: one call; with `batch`, the calls of the batch.
        context: what all stages share.
        allowance: limits the failed requests of this answer.
        batch: call `run_many` instead of `run`.
    """

    def __init__(
        self,
        stage: Stage,
        calls: Sequence[StageCall],
        context: ExecutionContext,
        allowance: Allowance | None = None,
        *,
        batch: bool = False,
    ) -> None:
        self.stage, self.calls, self.context, self.allowance = stage, calls, context, allowance
        self.function: Callable[..., Any] = cast(Any, type(stage).run_many) if batch else type(stage).run
        self.batch = batch
        self.is_coroutine = iscoroutinefunction(self.function)
        self.stopwatch = calls[0].stopwatch
        self.cost = stage_cost(stage, [call.inputs for call in calls], context.budget_meter)
        self.count = 0

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[Callable[[Any], None]]:
        """Hold the semaphore and the reservation of a stage that calls no service. For others, the gate holds them.

        Yields a function that books the cost of the answer.
        """
        if self.stage.backend:
            yield lambda answer: None
            return
        async with self._place():
            if self.cost is None:
                yield lambda answer: None
                return
            cost = self.cost
            async with cost.meter.reserve(cost.max_cost) as reservation:
                reservation.sent = True
                yield lambda answer: reservation.settle(cost.cost(answer))

    def _place(self) -> AbstractAsyncContextManager[None]:
        threads, limit = self.context.threads, self.stage.max_concurrency
        if limit is not None:
            return self.context.gate.semaphore(self.stage.configuration).acquire(limit)
        return nullcontext() if self.is_coroutine else threads.semaphore.acquire(threads.workers)

    def run(self) -> Awaitable[Any]:
        """The answer of the stage, through the call gate if the stage calls a service."""
        if not self.stage.backend:
            return self.send()
        first = self.calls[0]
        workers = None if self.is_coroutine else self.context.threads.workers
        return self.context.gate.call(
            ServiceCall(
                self.stage.backend,
                self.stage.limits,  # type: ignore[attr-defined]  # a stage with a backend has limits
                self.send,
                parallel=self.stage.max_concurrency or workers,
                allowance=self.allowance,
                until=first.call.deadline,
                repeatable=(lambda: True) if self.batch else first.repeatable,
                cost=self.cost,
            )
        )

    def send(self, seconds: float | None = None) -> Awaitable[Any]:
        """Run the stage once, in a thread or as a coroutine. `seconds`: the time limit."""
        self.count += 1
        ended = threading.Event()
        calls = [_limited(call.call, seconds, ended) for call in self.calls]
        if self.batch:
            function = partial(self.function, self.stage, [call.inputs for call in self.calls], calls)
        else:
            function = partial(self.stage.run, **arguments(self.stage, self.calls[0].inputs, calls[0]))
        self.stopwatch.loads.parent = current_loads()
        if self.is_coroutine:
            return self._run(function, calls[0], ended)
        future = self.context.threads.start(partial(self._run_in_thread, function, calls[0]))
        future.add_done_callback(lambda _: ended.set())
        return future

    async def _run(self, function: Callable[[], Coroutine[Any, Any, Any]], call: Call, ended: threading.Event) -> Any:
        try:
            with self._measured(call):
                return await function()
        finally:
            ended.set()

    def _run_in_thread(self, function: Callable[[], Any], call: Call) -> Any:
        with self._measured(call):
            return function()

    @contextmanager
    def _measured(self, call: Call) -> Iterator[None]:
        self.stopwatch.start()
        context = CallContext(self.context.gate, self.context.budget_meter, call.deadline, call.cancelled)
        with record_loads(self.stopwatch.loads), call_context(context):
            yield


def _limited(call: Call, seconds: float | None, ended: threading.Event) -> Call:
    """The call, with the deadline and the cancellation of one attempt."""
    if seconds is None:
        return call
    return replace(call, deadline=time.monotonic() + seconds, cancelled=lambda: ended.is_set() or call.cancelled())


def arguments(stage: Stage, inputs: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """The arguments of a stage's `run`."""
    given = {slot: inputs[slot] for slot in stage.reads if slot in inputs}
    return {**given, "call": call} if stage.wants_call else given


def as_outcome(answer: Any) -> Outcome:
    """The answer of a stage as an Outcome."""
    return answer if isinstance(answer, Outcome) else Outcome(answer)
