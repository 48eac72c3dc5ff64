"""A store whose trouble never reaches an answer: what it cannot give is unknown, what it cannot take waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from llmops_flows.core.errors import StoreError
from llmops_flows.core.store import Entry, Lease, Store

T = TypeVar("T")

RETRY = 2.0
"""Seconds for which a store that failed is not asked again."""

MOST_HELD = 64_000_000
"""Bytes of values that wait for a store that takes none; beyond that they are let go."""


class ResilientStore:
    """Stands before a store. Its methods never raise StoreError; the first trouble is told by `warn(topic, text)`.

    Rows that could not be written (a full disk, a read-only folder) are known from memory, and written as soon as
    the store takes rows again: with the next ones, or at `flush`. Without a lease everybody computes.
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
        self._deaf_until = {"read": float("-inf"), "write": float("-inf")}

    def entries(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        nothing: Mapping[str, Entry] = {}
        found = self._try("read", lambda: self.store.entries(keys), nothing)
        held = self._entries
        return {**found, **{key: held[key] for key in keys if key in held}} if held else found

    def values(self, addresses: Sequence[str]) -> Mapping[str, bytes]:
        nothing: Mapping[str, bytes] = {}
        found = self._try("read", lambda: self.store.values(addresses), nothing)
        held = self._values
        return {**found, **{a: held[a] for a in addresses if a in held}} if held else found

    def put(self, entries: Mapping[str, Entry], values: Mapping[str, bytes]) -> None:
        with self._lock:
            self._entries.update(entries)
            self._values.update(values)
            if self._try("write", self._put, False):
                self._entries, self._values = {}, {}
            elif sum(map(len, self._values.values())) > MOST_HELD:
                self._entries = {k: e for k, e in self._entries.items() if k not in entries}
                self._values = {a: v for a, v in self._values.items() if a not in values}

    def lease(self, keys: Sequence[str], owner: str, *, seconds: float) -> Mapping[str, Lease]:
        mine: Mapping[str, Lease] = {key: Lease(key, owner, True) for key in keys}
        return self._try("write", lambda: self.store.lease(keys, owner, seconds=seconds), mine)

    def release(self, keys: Iterable[str], owner: str, *, error: bytes = b"") -> None:
        self._try("write", lambda: self.store.release(keys, owner, error=error), None)

    def flush(self) -> None:
        """Try to write what waits, now."""
        if self._entries or self._values:
            self._deaf_until["write"] = float("-inf")
            self.put({}, {})

    def close(self) -> None:
        self.flush()
        self._try("read", self.store.close, None)

    def _put(self) -> bool:
        self.store.put(self._entries, self._values)
        return True

    def _try(self, kind: str, work: Callable[[], T], otherwise: T) -> T:
        if self._clock() < self._deaf_until[kind]:
            return otherwise
        try:
            return work()
        except StoreError as error:
            self._deaf_until[kind] = self._clock() + RETRY
            told = "new answers are not kept" if kind == "write" else "answers are computed again"
            self._warn(f"store {kind}", f"{told} for now: {error}")
            return otherwise
