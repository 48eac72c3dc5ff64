"""One background event loop per process, so that plain functions can ask the one asynchronous engine."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from .errors import FlowError

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None
_pid = 0


def background() -> asyncio.AbstractEventLoop:
    """The loop of this process, started when first asked for (a forked child gets its own)."""
    global _loop, _pid, _thread
    with _lock:
        if _loop is None or _pid != os.getpid():
            _loop, _pid = asyncio.new_event_loop(), os.getpid()
            _thread = threading.Thread(target=_loop.run_forever, name="llmops-flows-loop", daemon=True)
            _thread.start()
        return _loop


async def adrive(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that runs on the background loop, awaited from any other loop.

    Clients and locks of one process thus live on one loop, whoever asks.
    """
    loop = background()
    if asyncio.get_running_loop() is loop:
        return await work
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


def drive(work: Coroutine[Any, Any, T], *, grace: float = 0.4) -> T:
    """The result of a coroutine, from a plain function in any thread, with or without a running loop around.

    An interrupt (Ctrl-C) cancels the coroutine, gives it `grace` seconds to put things in order, and goes on up.
    """
    if threading.current_thread() is _thread:
        work.close()
        raise FlowError("a stage that runs inline cannot wait for another flow; await `arun` in a coroutine instead")
    future = asyncio.run_coroutine_threadsafe(work, background())
    try:
        return future.result()
    except BaseException:
        if not future.done():
            future.cancel()
            _settle(grace)
        raise


def _settle(seconds: float) -> None:
    """Wait until the loop has run its cancelled tasks, at most so long."""

    async def others_done() -> None:
        me = asyncio.current_task()
        rest = [task for task in asyncio.all_tasks() if task is not me and task.cancelling()]
        if rest:
            await asyncio.wait(rest, timeout=seconds)

    try:
        asyncio.run_coroutine_threadsafe(others_done(), background()).result(seconds)
    except TimeoutError:
        return
