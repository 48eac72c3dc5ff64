"""The state of one backend: its concurrency, rate, Retry-After pause and circuit breaker."""

from __future__ import annotations

from collections.abc import Callable

from llmops_flows.core.clock import Clock
from llmops_flows.core.errors import BackendError

from .circuit_breaker import Breaker
from .concurrency import FairSemaphore


class Backend:
    """The state that all calls to one service share."""

    def __init__(self, name: str, breaker: Breaker, clock: Clock) -> None:
        self.name = name
        self.breaker = breaker
        self.semaphore = FairSemaphore()
        self._clock = clock
        self._rate_queue = FairSemaphore()
        self._next_request = float("-inf")
        self._paused_until = float("-inf")
        self._pause_reason = ""

    async def wait_for_turn(self, gap: float, check: Callable[[float], None], *, first: bool) -> None:
        """Wait until the rate (`gap`: seconds between requests) and the service's Retry-After allow a request.

        `check(seconds)` raises an error if the call cannot wait that long.
        """
        async with self._rate_queue.acquire(1 if gap else None, first=first):
            while True:
                pause = self._paused_until - self._clock.now()
                check(pause)
                wait = max(pause, self._next_request - self._clock.now() if gap else 0.0)
                if wait <= 0:
                    break
                await self._clock.sleep(wait)
            self._next_request = self._clock.now() + gap

    def pause(self, seconds: float, error: BackendError) -> None:
        """Send no request for a number of seconds, as the Retry-After header of the service requires."""
        self._paused_until = max(self._paused_until, self._clock.now() + seconds)
        self._pause_reason = f"{self.name} requires a pause of {seconds:.3g} s ({error})"

    def pause_error(self, wait: float, left: float) -> BackendError | None:
        """The error of a call whose remaining time is shorter than the pause (both in seconds); None if it is not."""
        if wait <= 0 or wait <= left:
            return None
        times = f"{wait:.3g} s of it remain, and the call has {max(0.0, left):.3g} s left"
        hint = "raise limits.timeout, or give the model a fallback"
        return BackendError(f"{self._pause_reason}; {times}: {hint}", status=429, retry_after=wait, retryable=True)

    def breaker_error(self) -> BackendError | None:
        """The error of a call while the circuit breaker is open; None while it is closed."""
        seconds = self.breaker.open_for(self._clock.now())
        if seconds <= 0:
            return None
        cause = f"{self.breaker.failures_in_row} requests in a row failed, the last with: {self.breaker.last_error}"
        return BackendError(
            f"{self.name} is not called for {seconds:.3g} s: {cause}", retry_after=seconds, retryable=True
        )
