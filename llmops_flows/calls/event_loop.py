"""One background event loop per process, on which every run and every service call executes.

Callers may be in any thread or on any other loop. Clients, semaphores and circuit breakers of a process live on one
loop and need no locks.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from llmops_flows.core.errors import FlowError

T = TypeVar("T")

GRACE = 0.4
"""Seconds that a cancelled coroutine has for its cleanup before the caller stops waiting for it."""

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None
_pid = 0


def background_loop() -> asyncio.AbstractEventLoop:
    """The event loop of this process, started on first use. A forked child starts a new one."""
    global _loop, _pid, _thread
    with _lock:
        if _loop is None or _pid != os.getpid():
            _loop, _pid = asyncio.new_event_loop(), os.getpid()
            _thread = threading.Thread(target=_loop.run_forever, name="llmops-flows-loop", daemon=True)
            _thread.start()
        return _loop


class BackgroundRun(Generic[T]):
    """A coroutine that runs on the background loop.

    `future` is done when the coroutine has ended, including its `finally` blocks after `cancel`.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        if threading.current_thread() is _thread:
            coroutine.close()
            raise FlowError("an inline stage blocks the event loop and cannot wait for it: make `run` a coroutine")
        self.future: Future[T] = Future()
        self._task: asyncio.Task[T] | None = None
        self._loop = background_loop()
        self._loop.call_soon_threadsafe(self._start, coroutine)

    def _start(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._task = self._loop.create_task(coroutine)
        self._task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.future.cancel()
        elif (error := task.exception()) is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(task.result())

    def cancel(self) -> None:
        """Request cancellation, without waiting."""
        self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())

    def stop(self, grace: float = GRACE) -> None:
        """Cancel, and wait at most `grace` seconds for the cleanup. Not from the background loop."""
        ended = threading.Event()
        self.future.add_done_callback(lambda _: ended.set())
        self.cancel()
        ended.wait(grace)


async def run_async(coroutine: Coroutine[Any, Any, T], *, grace: float = GRACE) -> T:
    """The result of a coroutine that runs on the background loop, awaited on any loop.

    Cancelling this cancels the coroutine and waits at most `grace` seconds for its cleanup.
    """
    loop = asyncio.get_running_loop()
    if loop is background_loop():
        return await coroutine
    running, ended = BackgroundRun(coroutine), asyncio.Event()
    running.future.add_done_callback(_setter(loop, ended))
    try:
        await ended.wait()
    except asyncio.CancelledError:
        running.cancel()
        await asyncio.wait([asyncio.ensure_future(ended.wait())], timeout=grace)
        raise
    if running.future.cancelled():
        raise asyncio.CancelledError
    return running.future.result()


def _setter(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> Callable[[object], None]:
    def set_event(_: object) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(event.set)

    return set_event


def run_sync(coroutine: Coroutine[Any, Any, T], *, grace: float = GRACE) -> T:
    """The result of a coroutine that runs on the background loop, for a plain function in any other thread.

    An interrupt (Ctrl-C) cancels the coroutine and waits at most `grace` seconds for its cleanup.
    """
    running = BackgroundRun(coroutine)
    try:
        return running.future.result()
    finally:
        if not running.future.done():
            running.stop(grace)


@contextmanager
def first_error() -> Iterator[None]:
    """Around an `asyncio.TaskGroup`: raise the first error of the group itself, not an ExceptionGroup."""
    try:
        yield
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
