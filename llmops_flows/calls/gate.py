"""The call gate: deadline, rate, concurrency, circuit breaker, budget and retries of every call to a service."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from llmops_flows.core.clock import Clock, WallClock
from llmops_flows.core.errors import BackendError, DeadlineExceeded, StageError
from llmops_flows.core.limits import PER_BACKEND, Limits

from .backend import Backend
from .budget_reservation import Reservation
from .circuit_breaker import Breaker
from .concurrency import FairSemaphore
from .cost import CallCost, error_cost
from .retry import FINAL, PER_CALL, Allowance, backoff

T = TypeVar("T")
E = TypeVar("E", bound=StageError)

RATE_MARGIN = 1.02
"""Factor on the time between requests, since network latency varies."""
_UNUSABLE = (401, 402, 429)
"""HTTP statuses of a service that refuses all requests with this key. The circuit breaker counts them as failures."""


@dataclass(frozen=True, slots=True)
class ServiceCall(Generic[T]):
    """One call to a service, with its retries.

    Attributes:
        backend: the name of the service; calls to the same backend share its limits and its circuit breaker.
        limits: the limits of the service.
        send: sends one request; takes the remaining seconds, and is cancelled at the deadline.
        parallel: the concurrency limit of the caller, in addition to that of `limits`.
        allowance: the number of requests that may fail, shared by the calls of a fallback chain.
        until: the time of the gate's clock at which the caller stops waiting. Time in the queue counts.
        repeatable: returns whether a retry is possible: not after a part of the answer was shown.
        cost: the cost and budget of each request; None: no budget.
    """

    backend: str
    limits: Limits
    send: Callable[[float], Awaitable[T]]
    parallel: int | None = None
    allowance: Allowance | None = None
    until: float | None = None
    repeatable: Callable[[], bool] = lambda: True
    cost: CallCost | None = None


class Gate:
    """Admits calls to services. One gate serves a process (`GATE`), so that limits and breakers hold across runs.

    It lives on the background loop (`calls.event_loop`), needs no lock, and must not be used from another loop.

    Args:
        failures: failures in a row after which a backend's circuit breaker opens.
        cool_down: seconds until one request probes the backend again.
        clock: the source of time.
        chance: returns a random number in [0, 1).

    Attributes:
        processes: the number of processes that call the same services; each uses its share of the limits.
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

    def call(self, call: ServiceCall[T]) -> Coroutine[Any, Any, T]:
        """The answer of `call.send`, within the limits of the call. The call can be cancelled at any time.

        Raises:
            BackendError: the last error of the service, after all attempts or if a retry cannot help.
            DeadlineExceeded: the call exceeded its time limit.
            BudgetExceeded: the budget does not allow the request.
        """
        return _GatedCall(self, self._backend(call.backend), call).run()

    def semaphore(self, name: str) -> FairSemaphore:
        """The semaphore of a component that calls no service but limits its concurrency."""
        return self._backend(name).semaphore

    def _backend(self, name: str) -> Backend:
        if self._pid != os.getpid():  # a forked child has a new event loop
            self._backends, self._pid = {}, os.getpid()
        if name not in self._backends:
            self._backends[name] = Backend(name, Breaker(*self._breaker), self.clock)
        return self._backends[name]


class _GatedCall(Generic[T]):
    """The state of one call while it passes the gate."""

    def __init__(self, gate: Gate, backend: Backend, call: ServiceCall[T]) -> None:
        self.gate, self.backend, self.call, self.clock = gate, backend, call, gate.clock
        self.allowance = call.allowance or Allowance()
        self.until = call.until
        self.started = False
        self.time = call.limits.timeout
        self.attempts = 0
        self.sent: float | None = None
        self.last_error: BackendError | None = None

    async def run(self) -> T:
        limits = self.call.limits
        share = limits.parallel and max(1, limits.parallel // self.gate.processes)
        parallel = min((limit for limit in (self.call.parallel, share) if limit), default=None)
        rate = limits.requests_per_minute
        gap = 60.0 / rate * RATE_MARGIN * self.gate.processes if rate else 0.0
        try:
            async with asyncio.timeout(None if self.until is None else max(0.0, self.left())) as timeout:
                while True:
                    self.check()
                    place = self.backend.semaphore.acquire(parallel, first=self.started)
                    async with place, self.reserved() as reservation:
                        await self.backend.wait_for_turn(gap, self.check, first=self.started)
                        self.start(timeout)
                        try:
                            return await self.request(reservation)
                        except BackendError as error:
                            self.last_error = error
                    await self.clock.sleep(self.pause(self.last_error))
        except TimeoutError:
            if not timeout.expired():
                raise
            raise self.deadline_error() from self.last_error

    def left(self) -> float:
        """The remaining seconds of this call."""
        timeout = self.call.limits.timeout
        return timeout if self.until is None else min(timeout, self.until - self.clock.now())

    def check(self, wait: float = 0.0) -> None:
        """Raise an error if the backend is not available within the remaining time. `wait`: seconds to wait for it."""
        error = self.backend.pause_error(wait, self.left())
        if error is not None:
            raise error from self.last_error
        error = self.backend.breaker_error()
        if error is None and not self.allowance.allows(self.backend.name):
            limits = f"at most {PER_BACKEND} to a backend and {PER_CALL} in all"
            error = BackendError(f"{self.backend.name} is not called: too many requests of this call failed ({limits})")
        if error is not None:
            raise error if self.last_error is None else _with_attempts(self.last_error, self.attempts)

    def start(self, timeout: asyncio.Timeout) -> None:
        """Start the time limit of the call when its first request is admitted."""
        if self.started:
            return
        self.time = left = self.left()
        self.started, self.until = True, self.clock.now() + left
        timeout.reschedule(asyncio.get_running_loop().time() + left)

    def reserved(self) -> AbstractAsyncContextManager[Reservation | None]:
        """Reserve the maximum cost of a request. Covers the wait for the rate limit and the request."""
        cost = self.call.cost
        return nullcontext() if cost is None else cost.meter.reserve(cost.max_cost)

    async def request(self, reservation: Reservation | None) -> T:
        """Send one request and book its cost."""
        breaker, sent = self.backend.breaker, self.clock.now()
        self.attempts, self.sent = self.attempts + 1, sent
        is_probe = breaker.start()
        try:
            if reservation is not None:
                reservation.sent = True
            answer = await self.call.send(self.left())
            breaker.succeeded()
            self.sent = None
            if reservation is not None and self.call.cost is not None:
                reservation.settle(self.call.cost.cost(answer))
            return answer
        except (BackendError, DeadlineExceeded) as error:
            if reservation is not None:
                reservation.settle(error_cost(error))
            self.failed(error, sent)
            self.sent = None
            raise
        finally:
            if is_probe:
                breaker.end_probe()

    def failed(self, error: StageError, sent: float) -> None:
        """Count a failed request. A request that is refused for its content does not count for the circuit breaker."""
        self.allowance.failed(self.backend.name)
        breaker, now = self.backend.breaker, self.clock.now()
        if not isinstance(error, BackendError):
            breaker.failed(now, str(error), since=sent)
        elif _retryable(error) or error.status in _UNUSABLE:
            breaker.failed(now, str(error), since=sent, busy=error.status == 429)
            if error.retry_after and _retryable(error):
                self.backend.pause(error.retry_after, error)
        else:
            breaker.succeeded()

    def pause(self, error: BackendError) -> float:
        """Seconds until the next attempt. Raises the error if no further attempt is allowed."""
        again = _retryable(error) and self.call.repeatable() and self.attempts < self.call.limits.attempts
        if not again or not self.allowance.allows(self.backend.name):
            raise _with_attempts(error, self.attempts)
        own = backoff(self.attempts, self.gate.chance)
        requested, left = error.retry_after or 0.0, self.left()
        if (pause_error := self.backend.pause_error(requested, left)) is not None:
            raise pause_error from error
        if own > left or self.backend.breaker_error() is not None:
            raise _with_attempts(error, self.attempts)
        return max(own, requested)

    def deadline_error(self) -> DeadlineExceeded:
        """The error of a call that exceeded its time limit."""
        if not self.started:
            return DeadlineExceeded(f"{self.backend.name}: the deadline passed before a request could be sent")
        before = f"; previous attempt: {self.last_error}" if self.last_error else ""
        message = f"{self.backend.name} did not answer within {self.time:.3g} s; raise limits.timeout{before}"
        error = _with_attempts(DeadlineExceeded(message), self.attempts)
        if self.sent is not None:  # a request was in progress
            self.failed(error, self.sent)
        return error


def _retryable(error: BackendError) -> bool:
    """Whether another attempt can help."""
    return error.retryable and error.status not in FINAL


def _with_attempts(error: E, attempts: int) -> E:
    """The error, with the number of attempts in its message."""
    if attempts > 1 and not hasattr(error, "attempts"):
        error.message = f"{error.message} ({attempts} attempts)"
        error.args, error.attempts = (error.message,), attempts  # type: ignore[attr-defined]
    return error


GATE = Gate()
"""The gate of this process."""
