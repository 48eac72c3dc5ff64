"""Loaded models, embedders and indexes: one per process and configuration, released when no component needs it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from llmops_flows.core.stage import Part

from .loading import loading

T = TypeVar("T")


class _Resource:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.loaded = False
        self.value: Any = None
        self.close: Callable[[Any], None] | None = None


_resources: dict[tuple[str, str], _Resource] = {}
_uses: set[tuple[int, str]] = set()
_lock = threading.RLock()


def shared(part: Part, load: Callable[[], T], *, name: str = "", close: Callable[[T], None] | None = None) -> T:
    """The result of `load`, called once per process for all components with the same configuration.

    Concurrent callers wait for one load; after a load that raises, the next caller loads again. When the last
    component is garbage-collected, `close` is called with the result. `name` distinguishes several resources of one
    component.
    """
    key = (part.configuration, name)
    with _lock:
        resource = _resources.setdefault(key, _Resource())
        use = (id(part), name)
        if use not in _uses:
            _uses.add(use)
            resource.users += 1
            weakref.finalize(part, _release, key, use)
    if not resource.loaded:
        _load(resource, load, close)
    value: T = resource.value
    return value


def _load(resource: _Resource, load: Callable[[], Any], close: Callable[[Any], None] | None) -> None:
    """Load, or wait for the load of another thread. Neither is part of the latency of an answer."""
    with loading(own=False), resource.lock:
        if not resource.loaded:
            with loading():
                resource.value = load()
            resource.close = close
            resource.loaded = True


def _release(key: tuple[str, str], use: tuple[int, str]) -> None:
    with _lock:
        _uses.discard(use)
        resource = _resources.get(key)
        if resource is None:
            return
        resource.users -= 1
        if resource.users > 0:
            return
        del _resources[key]
    _close(resource)


def _close(resource: _Resource) -> None:
    if resource.loaded and resource.close is not None:
        resource.close(resource.value)


def release_all() -> None:
    """Close every resource of this process (before exit, or in tests)."""
    with _lock:
        resources = list(_resources.values())
        _resources.clear()
    for resource in resources:
        _close(resource)
