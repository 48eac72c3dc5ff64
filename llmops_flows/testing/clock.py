"""A clock that advances only by sleeping, so that tests of minutes take no time."""

from __future__ import annotations

import asyncio

_TURNS = 10


class FakeClock:
    """A `Clock` for the call gate. If several tasks sleep, the one that wakes first advances the time.

    Before that, the ready tasks run for several turns of the event loop. The clock does not wait for sockets and
    threads.
    """

    def __init__(self, start: float = 1000.0) -> None:
        self.time = start
        self._sleeping: list[float] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        until = self.time + max(0.0, seconds)
        self._sleeping.append(until)
        try:
            while self.time < until:
                for _ in range(_TURNS):
                    await asyncio.sleep(0)
                if min(self._sleeping) == until:
                    self.time = max(self.time, until)
        finally:
            self._sleeping.remove(until)
