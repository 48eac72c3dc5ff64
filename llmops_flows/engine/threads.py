"""The threads in which blocking stages run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from llmops_flows.calls.concurrency import FairSemaphore

T = TypeVar("T")

_MAX_THREADS = 256
"""Stages with `max_concurrency` may need more threads than workers. Threads start on demand."""


class Threads:
    """A thread pool, with a semaphore of `workers` for stages without `max_concurrency`."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.semaphore = FairSemaphore()
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def start(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Run a function in a thread. Cancelling the future stops the waiting; a running function continues."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(max(_MAX_THREADS, self.workers), thread_name_prefix="llmops-flows")
            return asyncio.get_running_loop().run_in_executor(self._pool, function)

    def close(self) -> None:
        """Start no more functions."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
                self._pool = None
