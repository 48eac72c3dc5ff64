"""A fair semaphore: admits callers in the order of their arrival."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairSemaphore:
    """A semaphore whose limit each caller passes. Belongs to one event loop."""

    def __init__(self) -> None:
        self._holders = 0
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def acquire(self, limit: int | None, *, first: bool = False) -> AsyncIterator[None]:
        """Hold the semaphore within the block.

        Args:
            limit: the maximum number of concurrent holders; None: no limit.
            first: go to the front of the queue, for a retry of a call that has started.
        """
        await self._wait(limit, first)
        try:
            yield
        finally:
            self._holders -= 1
            self._admit()

    async def _wait(self, limit: int | None, first: bool) -> None:
        if limit is None or (self._holders < limit and (first or not self._queue)):
            self._holders += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._queue.appendleft if first else self._queue.append)((limit, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # admitted and cancelled at the same moment
                self._holders -= 1
            self._admit()
            raise

    def _admit(self) -> None:
        while self._queue:
            limit, turn = self._queue[0]
            if not turn.done() and self._holders >= limit:
                return
            self._queue.popleft()
            if not turn.done():
                self._holders += 1
                turn.set_result(None)
