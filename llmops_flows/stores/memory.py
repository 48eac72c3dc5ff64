"""A store in memory: for tests, and for flows that should keep nothing beyond the process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from llmops_flows.core.fingerprint import digest
from llmops_flows.core.store import Entry, Lease

_ERROR_SECONDS = 5.0


class MemoryStore:
    """Entries, values and leases in dicts. `clock` counts seconds, monotonically."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._values: dict[str, bytes] = {}
        self._leases: dict[str, tuple[str, float, bytes]] = {}
        self._clock = clock

    def entries(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        with self._lock:
            return {key: self._entries[key] for key in keys if key in self._entries}

    def values(self, addresses: Sequence[str]) -> Mapping[str, bytes]:
        with self._lock:
            found = {a: self._values[a] for a in addresses if a in self._values}
        return {a: data for a, data in found.items() if digest(data) == a}

    def put(self, entries: Mapping[str, Entry], values: Mapping[str, bytes]) -> None:
        with self._lock:
            self._values.update(values)
            self._entries.update(entries)

    def lease(self, keys: Sequence[str], owner: str, *, seconds: float) -> Mapping[str, Lease]:
        with self._lock:
            return {key: self._claim(key, owner, seconds) for key in keys}

    def _claim(self, key: str, owner: str, seconds: float) -> Lease:
        now = self._clock()
        held = self._leases.get(key)
        if held is None or held[1] <= now or (held[0] == owner and not held[2]):
            self._leases[key] = (owner, now + seconds, b"")
            return Lease(key, owner, True)
        return Lease(key, held[0], False, held[2])

    def release(self, keys: Iterable[str], owner: str, *, error: bytes = b"") -> None:
        with self._lock:
            for key in keys:
                held = self._leases.get(key)
                if held is None or held[0] != owner:
                    continue
                if error:
                    self._leases[key] = (owner, self._clock() + _ERROR_SECONDS, error)
                else:
                    del self._leases[key]

    def forget_values(self) -> None:
        """Drop every value and keep what is known about them, as a store does that evicts by size."""
        with self._lock:
            self._values.clear()

    def close(self) -> None:
        """Nothing to release."""
