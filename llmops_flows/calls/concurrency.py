"""A door: lets in at most so many at once, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairSemaphore:
    """A semaphore whose callers say how many may be inside with them. It lives on one event loop."""

    def __init__(self) -> None:
        self._inside = 0
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def place(self, most: int | None, *, first: bool = False) -> AsyncIterator[None]:
        """A place inside, for the length of the block.

        Args:
            most: how many may be inside at once (None: no limit).
            first: wait in front of those who have not begun yet; for those who have, and whose time runs.
        """
        await self._enter(most, first)
        try:
            yield
        finally:
            self._inside -= 1
            self._let_in()

    async def _enter(self, most: int | None, first: bool) -> None:
        if most is None or (self._inside < most and (first or not self._queue)):
            self._inside += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._queue.appendleft if first else self._queue.append)((most, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # let in and called off in the same moment
                self._inside -= 1
            self._let_in()
            raise

    def _let_in(self) -> None:
        while self._queue:
            most, turn = self._queue[0]
            if not turn.done() and self._inside >= most:
                return
            self._queue.popleft()
            if not turn.done():
                self._inside += 1
                turn.set_result(None)
