"""Threads for stages that block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from llmops_flows.calls.concurrency import FairSemaphore

T = TypeVar("T")

_MOST = 256
"""Threads there may be: stages with places of their own need more than the workers. They start when needed."""


class Threads:
    """Runs blocking functions, at most `workers` of them at once.

    Work that has found a place elsewhere (`placed`) is not held up here: its own limit counts.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._door = FairSemaphore()
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    async def run(self, work: Callable[[], T], *, placed: bool = False) -> T:
        """What `work` returns, from a thread. Cancelling stops the waiting; a thread at work goes on by itself."""
        async with self._door.place(None if placed else self.workers):
            return await asyncio.get_running_loop().run_in_executor(self._threads(), work)

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(max(_MOST, self.workers), thread_name_prefix="llmops-flows")
            return self._pool

    def close(self) -> None:
        """Begin no more work."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
                self._pool = None
