"""A store whose errors never affect an answer: failed reads return nothing, failed writes are retried later."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from llmops_flows.core.errors import StoreError
from llmops_flows.core.store import Entry, Lease, Store

T = TypeVar("T")

RETRY_SECONDS = 2.0
"""Seconds between an error of the store and its next use."""

MAX_PENDING_BYTES = 64_000_000
"""Maximum bytes of values that wait to be written; further values are dropped."""


class ResilientStore:
    """Wraps a store. Its methods never raise StoreError; `warn(topic, text)` logs the first error.

    Rows that cannot be written (a full disk, a read-only folder) stay in memory until a later `put` or `flush`
    succeeds. If leases fail, every caller computes.
    """

    def __init__(
        self, store: Store, warn: Callable[[str, str], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.store = store
        self._warn = warn
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._values: dict[str, bytes] = {}
        self._retry_at = {"read": float("-inf"), "write": float("-inf")}

    def entries(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        empty: Mapping[str, Entry] = {}
        entries = self._try("read", lambda: self.store.entries(keys), empty)
        pending = self._entries
        return {**entries, **{key: pending[key] for key in keys if key in pending}} if pending else entries

    def values(self, addresses: Sequence[str]) -> Mapping[str, bytes]:
        empty: Mapping[str, bytes] = {}
        values = self._try("read", lambda: self.store.values(addresses), empty)
        pending = self._values
        return {**values, **{a: pending[a] for a in addresses if a in pending}} if pending else values

    def put(self, entries: Mapping[str, Entry], values: Mapping[str, bytes]) -> None:
        with self._lock:
            self._entries.update(entries)
            self._values.update(values)
            if self._try("write", self._put, False):
                self._entries, self._values = {}, {}
            elif sum(map(len, self._values.values())) > MAX_PENDING_BYTES:
                self._entries = {k: e for k, e in self._entries.items() if k not in entries}
                self._values = {a: v for a, v in self._values.items() if a not in values}

    def lease(self, keys: Sequence[str], owner: str, *, seconds: float) -> Mapping[str, Lease]:
        granted: Mapping[str, Lease] = {key: Lease(key, owner, True) for key in keys}
        return self._try("write", lambda: self.store.lease(keys, owner, seconds=seconds), granted)

    def release(self, keys: Iterable[str], owner: str, *, error: bytes = b"") -> None:
        self._try("write", lambda: self.store.release(keys, owner, error=error), None)

    def flush(self) -> None:
        """Try to write pending rows now."""
        if self._entries or self._values:
            self._retry_at["write"] = float("-inf")
            self.put({}, {})

    def close(self) -> None:
        self.flush()
        self._try("read", self.store.close, None)

    def _put(self) -> bool:
        self.store.put(self._entries, self._values)
        return True

    def _try(self, kind: str, operation: Callable[[], T], default: T) -> T:
        if self._clock() < self._retry_at[kind]:
            return default
        try:
            return operation()
        except StoreError as error:
            self._retry_at[kind] = self._clock() + RETRY_SECONDS
            effect = "new answers are not stored" if kind == "write" else "answers are computed again"
            self._warn(f"store {kind}", f"{effect} for now: {error}")
            return default
