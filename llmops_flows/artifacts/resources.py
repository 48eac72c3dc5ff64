"""Loaded models, embedders and indexes: one per process and configuration, let go when nothing needs it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from llmops_flows.core.stage import Part

from .loading import loading

T = TypeVar("T")


class _Held:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.ready = False
        self.value: Any = None
        self.close: Callable[[Any], None] | None = None


_held: dict[tuple[str, str], _Held] = {}
_uses: set[tuple[int, str]] = set()
_lock = threading.RLock()


def shared(part: Part, load: Callable[[], T], *, name: str = "", close: Callable[[T], None] | None = None) -> T:
    """What `load` gives, loaded once per process for all parts of the same configuration.

    Threads that ask at once wait for one load; a load that raises is tried again by the next that asks. When the
    last part that asked is gone, `close` is called with the value. `name` tells several resources of a part apart.
    """
    key = (part.configuration, name)
    with _lock:
        held = _held.setdefault(key, _Held())
        use = (id(part), name)
        if use not in _uses:
            _uses.add(use)
            held.users += 1
            weakref.finalize(part, _leave, key, use)
    if not held.ready:
        _ready(held, load, close)
    value: T = held.value
    return value


def _ready(held: _Held, load: Callable[[], Any], close: Callable[[Any], None] | None) -> None:
    """Load what nobody has loaded yet, or wait for whoever does. Neither is part of what an answer takes."""
    with loading(own=False), held.lock:
        if not held.ready:
            with loading():
                held.value = load()
            held.close = close
            held.ready = True


def _leave(key: tuple[str, str], use: tuple[int, str]) -> None:
    with _lock:
        _uses.discard(use)
        held = _held.get(key)
        if held is None:
            return
        held.users -= 1
        if held.users > 0:
            return
        del _held[key]
    if held.ready and held.close is not None:
        held.close(held.value)


def release_all() -> None:
    """Close every resource of this process (before exit, or in tests)."""
    with _lock:
        everything = list(_held.values())
        _held.clear()
    for held in everything:
        if held.ready and held.close is not None:
            held.close(held.value)
