"""A store in memory, for tests and for flows that store nothing on disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from llmops_flows.core.store import ERROR_SECONDS, Entry, Lease

from .maintenance import EntryUsage, StoreMaintenance, entry_usage, valid_values

T = TypeVar("T")


class MemoryLedger:
    """Budget accounts in a dict."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accounts: dict[str, bytes] = {}

    def change(self, name: str, work: Callable[[bytes | None], tuple[bytes | None, T]]) -> T:
        with self._lock:
            data, result = work(self._accounts.get(name))
            if data is not None:
                self._accounts[name] = data
            return result


LEDGER = MemoryLedger()
"""The accounts of runs without a store that has a ledger."""


class MemoryStore(StoreMaintenance):
    """Entries, values and leases in dicts. `clock` counts seconds, monotonically."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._values: dict[str, bytes] = {}
        self._used: dict[str, float] = {}
        self._leases: dict[str, tuple[str, float, bytes]] = {}
        self._clock = clock

    def entries(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        with self._lock:
            entries = {key: self._entries[key] for key in keys if key in self._entries}
            self._used.update(dict.fromkeys(entries, self._clock()))
        return entries

    def values(self, addresses: Sequence[str]) -> Mapping[str, bytes]:
        return self.check_values(addresses)[0]

    def put(self, entries: Mapping[str, Entry], values: Mapping[str, bytes]) -> None:
        with self._lock:
            self._values.update(values)
            self._entries.update(entries)
            self._used.update(dict.fromkeys(entries, self._clock()))

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
                    self._leases[key] = (owner, self._clock() + ERROR_SECONDS, error)
                else:
                    del self._leases[key]

    def forget_values(self) -> None:
        """Drop every value but no entry, like a server that evicts values by size."""
        with self._lock:
            self._values.clear()

    # -- maintenance -----------------------------------------------------------------------------------------------

    def usages(self) -> Sequence[EntryUsage]:
        with self._lock:
            now = self._clock()
            return [entry_usage(key, e.address, e.meta, now - self._used[key]) for key, e in self._entries.items()]

    def value_sizes(self) -> Mapping[str, int]:
        with self._lock:
            return {address: len(data) for address, data in self._values.items()}

    def check_entries(self, keys: Sequence[str]) -> tuple[dict[str, Entry], list[str]]:
        with self._lock:
            return {key: self._entries[key] for key in keys if key in self._entries}, []

    def check_values(self, addresses: Sequence[str]) -> tuple[dict[str, bytes], list[str]]:
        with self._lock:
            return valid_values({a: self._values[a] for a in addresses if a in self._values})

    def lease_owners(self) -> Sequence[str]:
        with self._lock:
            now = self._clock()
            return [owner for owner, expires, error in self._leases.values() if expires > now and not error]

    def delete_rows(self, keys: Sequence[str], addresses: Sequence[str]) -> None:
        with self._lock:
            for key in keys:
                self._entries.pop(key, None)
            needed = {entry.address for entry in self._entries.values()}
            for address in addresses:
                if address not in needed:
                    self._values.pop(address, None)

    def close(self) -> None:
        """Do nothing."""
