"""What the call gate knows of one backend."""

from __future__ import annotations

from collections.abc import Callable

from llmops_flows.core.clock import Clock
from llmops_flows.core.errors import BackendError

from .circuit_breaker import Breaker
from .concurrency import FairSemaphore


class Backend:
    """Who is inside, when it was asked last, what it said then, and whether it keeps failing."""

    def __init__(self, name: str, breaker: Breaker, clock: Clock) -> None:
        self.name = name
        self.breaker = breaker
        self.door = FairSemaphore()
        self._clock = clock
        self._line = FairSemaphore()
        self._next = float("-inf")
        self._closed_until = float("-inf")
        self._said = ""

    async def turn(self, gap: float, check: Callable[[float], None], *, first: bool) -> None:
        """Wait until the rate (`gap`: seconds between requests) and the service itself allow one more request.

        `check(seconds)` raises if there is no point in waiting so long.
        """
        async with self._line.place(1 if gap else None, first=first):
            while True:
                asked = self._closed_until - self._clock.now()
                check(asked)
                wait = max(asked, self._next - self._clock.now() if gap else 0.0)
                if wait <= 0:
                    break
                await self._clock.sleep(wait)
            self._next = self._clock.now() + gap

    def closed_for(self, seconds: float, error: BackendError) -> None:
        """The service wants no request for so many seconds, from nobody."""
        self._closed_until = max(self._closed_until, self._clock.now() + seconds)
        self._said = f"{self.name} asked to wait {seconds:.3g} s ({error})"

    def too_long(self, wait: float, left: float) -> BackendError | None:
        """The error of a call that has less time left than the service wants to be left alone (both in seconds)."""
        if wait <= 0 or wait <= left:
            return None
        when = f"{wait:.3g} s of that are to come, and the call has {max(0.0, left):.3g} s left"
        hint = "give it more time (limits.timeout), or the model a fallback"
        return BackendError(f"{self._said}; {when}: {hint}", status=429, retry_after=wait, retryable=True)

    def resting(self) -> BackendError | None:
        """The error of a call that comes while the backend is left alone."""
        rest = self.breaker.rests(self._clock.now())
        if rest <= 0:
            return None
        told = f"{self.breaker.row} requests in a row failed, the last one with: {self.breaker.why}"
        return BackendError(f"{self.name} is left alone for {rest:.3g} s: {told}", retry_after=rest, retryable=True)
