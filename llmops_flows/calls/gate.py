"""The call gate in front of every model and tool: deadline, rate, places, breaker, bounded retries, in one place."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TypeVar

from llmops_flows.core.clock import Clock, WallClock
from llmops_flows.core.errors import BackendError, DeadlineExceeded, StageError
from llmops_flows.core.limits import PER_BACKEND
from llmops_flows.core.limits import Limits as Limits

from .backend import Backend
from .budget_meter import CallCost, Reservation, cost_of
from .circuit_breaker import Breaker
from .concurrency import FairSemaphore
from .retry import FINAL, PER_CALL, Allowance, backoff

T = TypeVar("T")

MARGIN = 1.02
"""Requests keep this much more distance than the rate asks for: the network moves them a little."""


_CLOSED = (401, 402, 429)
"""Statuses of a service that answers nobody with this key, now or ever."""


class Gate:
    """Knows every backend by name: who is inside, when it was asked last, what it said then.

    One gate serves a process (`GATE`), so that rate and breaker hold across runs. It lives on the one background
    loop (`core.loop`), where every run does its work, whichever loop or thread asks: it needs no lock, and is not
    to be used from several loops.

    Args:
        failures: failures in a row after which a backend is left alone.
        cool_down: seconds until it is asked again, with one request.
        clock, chance: time and randomness; tests bring their own.

    Attributes:
        processes: how many processes ask the same services side by side: each keeps to its share of the limits.
    """

    def __init__(
        self,
        *,
        failures: int = 5,
        cool_down: float = 30.0,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.clock = clock or WallClock()
        self.chance = chance
        self.processes = 1
        self._breaker = (failures, cool_down)
        self._backends: dict[str, Backend] = {}
        self._pid = os.getpid()

    async def call(
        self,
        backend: str,
        limits: Limits,
        attempt: Callable[[float], Awaitable[T]],
        *,
        parallel: int | None = None,
        allowance: Allowance | None = None,
        until: float | None = None,
        repeatable: Callable[[], bool] = lambda: True,
        bill: CallCost | None = None,
    ) -> T:
        """The answer of `attempt(seconds left)`, tried within the limits. Cancelling ends it in every phase.

        Args:
            attempt: makes one request; is cancelled at the deadline.
            parallel: how many may be under way at once, where it is not what the limits say.
            allowance: what the calls before it, for the same answer, have left of the bounds on requests.
            until: when whoever asks stops waiting, by the gate's clock; waiting in the queue counts here.
            repeatable: whether the attempt may still be repeated (not once its pieces were shown to a reader).
            bill: what every request is paid from, where there is a budget.

        Raises:
            BackendError: the last error of the service, when trying again did not or cannot help.
            DeadlineExceeded: the time was used up.
            BudgetExceeded: what is left of the budget does not allow the request.
        """
        call = _Call(self, self._known(backend), limits, allowance or Allowance(), until, bill)
        share = limits.parallel and max(1, limits.parallel // self.processes)
        most = min((limit for limit in (parallel, share) if limit), default=None)
        return await call.made(attempt, most, repeatable)

    def door(self, name: str) -> FairSemaphore:
        """The door of something that is no service but can serve only so many at once."""
        return self._known(name).door

    def _known(self, name: str) -> Backend:
        if self._pid != os.getpid():  # a forked child has a loop, and queues, of its own
            self._backends, self._pid = {}, os.getpid()
        known = self._backends.get(name)
        if known is None:
            known = self._backends[name] = Backend(name, Breaker(*self._breaker), self.clock)
        return known


class _Call:
    """One call on its way through the gate."""

    def __init__(
        self,
        gate: Gate,
        backend: Backend,
        limits: Limits,
        allowance: Allowance,
        until: float | None,
        bill: CallCost | None,
    ) -> None:
        self.gate, self.backend, self.limits, self.allowance = gate, backend, limits, allowance
        self.bill = bill
        self.clock = gate.clock
        self.until = until
        self.begun, self.time = False, limits.timeout
        self.tries = 0
        self.sent: float | None = None
        self.last: BackendError | None = None

    def left(self) -> float:
        """Seconds that this call may still take."""
        own = self.limits.timeout
        return own if self.until is None else min(own, self.until - self.clock.now())

    async def made(
        self, attempt: Callable[[float], Awaitable[T]], parallel: int | None, repeatable: Callable[[], bool]
    ) -> T:
        try:
            async with asyncio.timeout(None if self.until is None else max(0.0, self.left())) as bell:
                while True:
                    self.check()
                    async with self.backend.door.place(parallel, first=self.begun), self.paying() as payment:
                        await self.backend.turn(self.gap, self.check, first=self.begun)
                        self.begin(bell)
                        try:
                            return await self.request(attempt, payment)
                        except BackendError as error:
                            self.last = error
                    await self.clock.sleep(self.pause(self.last, repeatable()))
        except TimeoutError:
            if not bell.expired():
                raise
            raise self.late() from self.last

    @property
    def gap(self) -> float:
        rate = self.limits.requests_per_minute
        return 60.0 / rate * MARGIN * self.gate.processes if rate else 0.0

    def check(self, wait: float = 0.0) -> None:
        """Raise if it makes no sense to ask, or to wait so many seconds for it."""
        refused = self.backend.too_long(wait, self.left())
        if refused is not None:
            raise refused from self.last
        refused = self.backend.resting()
        if refused is None and not self.allowance.allows(self.backend.name):
            told = f"at most {PER_BACKEND} to a backend and {PER_CALL} in all"
            refused = BackendError(f"{self.backend.name} is not asked: enough requests failed for this call ({told})")
        if refused is not None:
            raise refused if self.last is None else _counted(self.last, self.tries)

    def begin(self, bell: asyncio.Timeout) -> None:
        """The gate lets the call go: its time runs from here."""
        if self.begun:
            return
        self.time = left = self.left()
        self.begun, self.until = True, self.clock.now() + left
        bell.reschedule(asyncio.get_running_loop().time() + left)

    def paying(self) -> AbstractAsyncContextManager[Reservation | None]:
        """Around a request and its waiting for its turn: a budget reserves the worst case that it may cost."""
        return nullcontext() if self.bill is None else self.bill.meter.reserve(self.bill.max_cost)

    async def request(self, attempt: Callable[[float], Awaitable[T]], payment: Reservation | None) -> T:
        """One request, and what it has cost."""
        breaker, sent = self.backend.breaker, self.clock.now()
        self.tries, self.sent = self.tries + 1, sent
        probe = breaker.begin()
        try:
            if payment is not None:
                payment.sent = True
            answer = await attempt(self.left())
            breaker.succeeded()
            self.sent = None
            if payment is not None and self.bill is not None:
                payment.settle(self.bill.cost(answer))
            return answer
        except (BackendError, DeadlineExceeded) as error:
            if payment is not None:
                payment.settle(cost_of(error))
            self.failed(error, sent)
            self.sent = None
            raise
        finally:
            if probe:
                breaker.probed()

    def failed(self, error: StageError, sent: float) -> None:
        """Take note of a request that failed. One that was refused for what it asks shows that the backend lives."""
        self.allowance.failed(self.backend.name)
        breaker, now = self.backend.breaker, self.clock.now()
        if not isinstance(error, BackendError):
            breaker.failed(now, str(error), since=sent)
        elif _mendable(error) or error.status in _CLOSED:
            breaker.failed(now, str(error), since=sent, busy=error.status == 429)
            if error.retry_after and _mendable(error):
                self.backend.closed_for(error.retry_after, error)
        else:
            breaker.succeeded()

    def pause(self, error: BackendError, repeatable: bool) -> float:
        """Seconds until the next try. Raises the error when there is none."""
        may = _mendable(error) and repeatable and self.tries < self.limits.attempts
        if not may or not self.allowance.allows(self.backend.name):
            raise _counted(error, self.tries)
        own = backoff(self.tries, self.gate.chance)
        asked, left = error.retry_after or 0.0, self.left()
        if (refused := self.backend.too_long(asked, left)) is not None:
            raise refused from error
        if own > left or self.backend.resting() is not None:
            raise _counted(error, self.tries)
        return max(own, asked)

    def late(self) -> DeadlineExceeded:
        """The time is used up."""
        if not self.begun:
            return DeadlineExceeded(f"{self.backend.name}: the time was up before it could be asked")
        before = f"; the try before it: {self.last}" if self.last else ""
        told = f"{self.backend.name} gave no answer within {self.time:.3g} s; to wait longer: limits.timeout{before}"
        error = _counted(DeadlineExceeded(told), self.tries)
        if self.sent is not None:  # it hung in the request
            self.failed(error, self.sent)
        return error


def _mendable(error: BackendError) -> bool:
    """Whether another try can help."""
    return error.retryable and error.status not in FINAL


E = TypeVar("E", bound=StageError)


def _counted(error: E, tries: int) -> E:
    """The error, saying how often was asked."""
    if tries > 1 and not hasattr(error, "tries"):
        error.message = f"{error.message} (asked {tries} times)"
        error.args, error.tries = (error.message,), tries  # type: ignore[attr-defined]
    return error


GATE = Gate()
"""The gate of this process."""
