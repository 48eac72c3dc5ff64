"""Calls to services from plain functions in threads, such as `Embedder.embed`, through the gate of the current run."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from llmops_flows.core.errors import StageError
from llmops_flows.core.limits import Limits

from .budget_account import Amount
from .budget_reservation import BudgetMeter
from .cost import CallCost
from .event_loop import BackgroundRun
from .gate import GATE, Gate, ServiceCall

T = TypeVar("T")
_POLL = 0.1
"""Seconds between two checks whether the stage call was cancelled."""


@dataclass(frozen=True, slots=True)
class CallContext:
    """The gate, budget and deadline of a stage call, which its service calls use.

    Attributes:
        gate: the call gate.
        meter: the budget that the calls are charged to; None: no budget.
        deadline: `time.monotonic()` by which the stage call ends.
        cancelled: whether the caller of the stage has stopped waiting.
    """

    gate: Gate = GATE
    meter: BudgetMeter | None = None
    deadline: float | None = None
    cancelled: Callable[[], bool] = lambda: False


_context: ContextVar[CallContext | None] = ContextVar("llmops_flows_call_context", default=None)


@contextmanager
def call_context(context: CallContext) -> Iterator[None]:
    """Within the block, in this thread or task, service calls use this context."""
    token = _context.set(context)
    try:
        yield
    finally:
        _context.reset(token)


def call_service(
    backend: str,
    limits: Limits,
    send: Callable[[float], Awaitable[T]],
    *,
    max_cost: Amount,
    cost: Callable[[T], Amount | None],
) -> T:
    """`Gate.call` for a plain function in a thread: runs on the background loop, and blocks until it has an answer.

    Uses the gate, budget, deadline and cancellation of the current stage call.

    Args:
        backend, limits, send: as in `ServiceCall`.
        max_cost: the maximum cost of one request.
        cost: returns the cost of a request from its answer; None: unknown.

    Raises:
        BackendError, DeadlineExceeded, BudgetExceeded: as `Gate.call`.
        StageError: the stage call was cancelled.
    """
    context = _context.get() or CallContext()
    until = None
    if context.deadline is not None:
        until = context.gate.clock.now() + context.deadline - time.monotonic()
    charged = None if context.meter is None else CallCost(context.meter, max_cost, cost)
    running = BackgroundRun(context.gate.call(ServiceCall(backend, limits, send, until=until, cost=charged)))
    try:
        while not wait([running.future], timeout=_POLL).done:
            if context.cancelled():
                raise StageError(f"the call of {backend} was cancelled with its stage")
        return running.future.result()
    finally:
        if not running.future.done():
            running.stop()
