"""One background event loop per process, so that plain functions can ask the one asynchronous engine.

Every run does its work on this loop, whichever thread or loop asks for it: clients, doors and breakers of a process
live on one loop and need no locks.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from llmops_flows.core.errors import FlowError

T = TypeVar("T")

GRACE = 0.4
"""Seconds that cancelled work has to put things in order before whoever cancelled it goes on."""

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None
_pid = 0


def background_loop() -> asyncio.AbstractEventLoop:
    """The loop of this process, started when first asked for (a forked child gets its own)."""
    global _loop, _pid, _thread
    with _lock:
        if _loop is None or _pid != os.getpid():
            _loop, _pid = asyncio.new_event_loop(), os.getpid()
            _thread = threading.Thread(target=_loop.run_forever, name="llmops-flows-loop", daemon=True)
            _thread.start()
        return _loop


class BackgroundRun(Generic[T]):
    """A coroutine at work on the background loop.

    `outcome` is set when it has really ended: after a cancel, that is when its last `finally` is through.
    """

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        if threading.current_thread() is _thread:
            work.close()
            raise FlowError("a stage that runs inline cannot wait for another flow: await `arun` in a coroutine")
        self.outcome: Future[T] = Future()
        self._task: asyncio.Task[T] | None = None
        self._loop = background_loop()
        self._loop.call_soon_threadsafe(self._begin, work)

    def _begin(self, work: Coroutine[Any, Any, T]) -> None:
        self._task = self._loop.create_task(work)
        self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.outcome.cancel()
        elif (error := task.exception()) is not None:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(task.result())

    def cancel(self) -> None:
        """Ask it to end; `outcome` tells when it has."""
        self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())

    def stop(self, grace: float = GRACE) -> None:
        """Cancel it, and wait at most so many seconds until it has put things in order. Not from the loop."""
        over = threading.Event()
        self.outcome.add_done_callback(lambda _: over.set())
        self.cancel()
        over.wait(grace)


async def run_async(work: Coroutine[Any, Any, T], *, grace: float = GRACE) -> T:
    """The result of a coroutine that runs on the background loop, awaited from any other loop.

    Cancelling this cancels the coroutine, gives it `grace` seconds to put things in order, and goes on up.
    """
    if asyncio.get_running_loop() is background_loop():
        return await work
    running, ended = BackgroundRun(work), asyncio.Event()
    loop = asyncio.get_running_loop()
    running.outcome.add_done_callback(_telling(loop, ended))
    try:
        await ended.wait()
    except asyncio.CancelledError:
        running.cancel()
        await asyncio.wait([asyncio.ensure_future(ended.wait())], timeout=grace)
        raise
    if running.outcome.cancelled():
        raise asyncio.CancelledError
    return running.outcome.result()


def _telling(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> Callable[[object], None]:
    def tell(_: object) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(ended.set)

    return tell


def run_sync(work: Coroutine[Any, Any, T], *, grace: float = GRACE) -> T:
    """The result of a coroutine, from a plain function in any thread, with or without a running loop around.

    An interrupt (Ctrl-C) cancels the coroutine, gives it `grace` seconds to put things in order, and goes on up.
    """
    running = BackgroundRun(work)
    try:
        return running.outcome.result()
    finally:
        if not running.outcome.done():
            running.stop(grace)


async def run_concurrently(*work: Coroutine[Any, Any, None]) -> None:
    """Run coroutines side by side. If one raises, or this is cancelled, the others are cancelled and waited for."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
