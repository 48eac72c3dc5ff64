"""A clock that stands still until somebody sleeps: minutes pass in a test without being waited for."""

from __future__ import annotations

import asyncio

_TURNS = 10


class FakeClock:
    """A `Clock` for the call gate. Where several sleep, the one who is to wake first moves the time on.

    Before it does, everybody who is ready gets several turns. What waits for something real (a socket, a thread) does
    not hold it up.
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
