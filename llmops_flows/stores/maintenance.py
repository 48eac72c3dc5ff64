"""Maintenance of stores: statistics, verification, and eviction by age and size."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_flows.core.fingerprint import decode, digest
from llmops_flows.core.store import Entry, EvictionReport, LostEntry, StorageShare, StoreStats, VerificationReport

from .seal import seal_matches

TOUCH_SECONDS = 86_400.0
"""Age at which a read updates the time of last use, so that an entry is written at most once a day."""
BATCH = 500
"""Maximum rows that one call reads or deletes. Other processes wait for one call at most."""


@dataclass(frozen=True, slots=True)
class EntryUsage:
    """An entry: the address of its value, seconds since its last use (to a day), and the stage and tenant."""

    key: str
    address: str
    age: float
    stage: str = ""
    tenant: str = ""


class MonotonicClock:
    """The wall-clock time, but never decreasing, so that the order of entries survives a clock that is set back."""

    def __init__(self) -> None:
        self._last = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        with self._lock:
            self._last = max(self._last + 1e-6, time.time())
            return self._last


class StoreMaintenance(ABC):
    """Statistics, verification and eviction, for a store that implements access to its rows."""

    # -- implemented by a store ------------------------------------------------------------------------------------

    @abstractmethod
    def usages(self) -> Sequence[EntryUsage]:
        """Every entry, without a check of its seal."""

    @abstractmethod
    def value_sizes(self) -> Mapping[str, int]:
        """Address to size in bytes, for every value."""

    @abstractmethod
    def lease_owners(self) -> Sequence[str]:
        """The owner of each active lease."""

    @abstractmethod
    def check_entries(self, keys: Sequence[str]) -> tuple[dict[str, Entry], list[str]]:
        """For up to BATCH keys: the entries with valid seals, and the keys of the damaged entries."""

    @abstractmethod
    def check_values(self, addresses: Sequence[str]) -> tuple[dict[str, bytes], list[str]]:
        """For up to BATCH addresses: the values that match their addresses, and the addresses of the damaged values."""

    @abstractmethod
    def delete_rows(self, keys: Sequence[str], addresses: Sequence[str]) -> None:
        """Delete up to BATCH entries, and up to BATCH values unless an entry refers to them."""

    def compact(self) -> None:  # noqa: B027  # most stores have nothing to do
        """Return the disk space of deleted rows, if the store does not do so automatically."""

    # -- offered to callers ----------------------------------------------------------------------------------------

    def stats(self) -> StoreStats:
        """The number and size of entries and values, by stage and tenant."""
        usages, sizes = self.usages(), self.value_sizes()
        ages = [max(0.0, use.age) for use in usages] or [0.0]
        return StoreStats(
            len(usages),
            len(sizes),
            sum(sizes.values()),
            max(ages),
            min(ages),
            dict(Counter(self.lease_owners())),
            _shares(((use.stage, use.address) for use in usages), sizes),
            _shares(((use.tenant, use.address) for use in usages), sizes),
        )

    def verify(self, *, repair: bool = True) -> VerificationReport:
        """Check every entry's seal and every value's address, and that each entry has its value."""
        usages = self.usages()
        usage_of = {use.key: use for use in usages} | {use.address: use for use in usages}
        values, damaged_values = self._check_all_values(self.value_sizes())
        lost = {
            address: _lost("value", "its bytes do not match its address", usage_of.get(address))
            for address in damaged_values
        }
        entries: dict[str, Entry] = {}
        for part in batches(use.key for use in usages):
            good, damaged = self.check_entries(part)
            entries.update(good)
            for key in damaged:
                lost[key] = _lost("entry", "its seal does not match, or is another entry's", usage_of[key])
        # Values that were written after the sizes were read are not lost.
        values |= self._check_all_values(e.address for e in entries.values() if e.address not in values)[0]
        orphans = [key for key, entry in entries.items() if entry.address not in values]
        lost |= {key: _lost("entry", "its value is lost", usage_of[key]) for key in orphans}
        if repair and lost:
            self._delete_in_batches([use.key for use in usages if use.key in lost], damaged_values)
        return VerificationReport(len(entries) - len(orphans), len(values), lost)

    def evict(
        self,
        *,
        max_bytes: int | None = None,
        older_than: float | None = None,
        stage: str | None = None,
        tenant: str | None = None,
        dry: bool = False,
    ) -> EvictionReport:
        """Delete entries that are older than `older_than`, then the least recently used ones beyond `max_bytes`."""
        usages, sizes = self.usages(), self.value_sizes()
        selected = [use for use in usages if stage in (None, use.stage) and tenant in (None, use.tenant)]
        if max_bytes is None and older_than is None and (stage, tenant) != (None, None):
            older_than = float("-inf")
        selected_keys = {use.key for use in selected}
        retained = {use.address for use in usages if use.key not in selected_keys}
        evicted = _select_evicted(selected, sizes, retained, max_bytes, older_than)
        # Values without an entry are deleted too, if every entry was considered.
        candidates = sizes if len(selected) == len(usages) else dict.fromkeys(use.address for use in evicted)
        addresses = [address for address in candidates if address in sizes and address not in retained]
        if not dry:
            self._delete_in_batches([use.key for use in evicted], addresses)
            self.compact()
        size = sum(sizes[address] for address in addresses)
        return EvictionReport(len(evicted), len(addresses), size, dict(Counter(use.stage for use in evicted)))

    def _check_all_values(self, addresses: Iterable[str]) -> tuple[set[str], list[str]]:
        intact: set[str] = set()
        damaged: list[str] = []
        for part in batches(addresses):
            values, bad = self.check_values(part)
            intact.update(values)
            damaged += bad
        return intact, damaged

    def _delete_in_batches(self, keys: Sequence[str], addresses: Sequence[str]) -> None:
        for part in batches(sorted(keys)):  # in the order in which they are stored
            self.delete_rows(part, [])
        for part in batches(addresses):
            self.delete_rows([], part)


def entry_usage(key: str, address: str, meta: Any, age: float) -> EntryUsage:
    """The usage of an entry, with stage and tenant from its `meta`; both are "" if `meta` is damaged."""
    try:
        facts = decode(meta)
        stage, tenant = facts.get("stage", ""), facts.get("tenant", "")
    except (ValueError, TypeError, AttributeError, RecursionError):
        stage = tenant = ""
    return EntryUsage(
        key, address, max(0.0, age), stage if type(stage) is str else "", tenant if type(tenant) is str else ""
    )


def valid_values(values: Mapping[str, Any]) -> tuple[dict[str, bytes], list[str]]:
    """The values that match their addresses, and the addresses of the damaged values."""
    good = {a: data for a, data in values.items() if type(data) is bytes and digest(data) == a}
    return good, [address for address in values if address not in good]


def valid_entries(key: bytes, rows: Iterable[Sequence[Any]]) -> tuple[dict[str, Entry], list[str]]:
    """The entries with valid seals, and the keys of the others. Rows begin with key, address, meta and seal."""
    good, bad = {}, []
    for name, address, meta, stored, *_ in rows:
        if seal_matches(stored, key, "entry", name, address, meta):
            good[name] = Entry(address, meta)
        else:
            bad.append(name)
    return good, bad


def batches(names: Iterable[str], size: int = BATCH) -> list[list[str]]:
    """The names in lists of up to `size`."""
    names = list(names)
    return [names[start : start + size] for start in range(0, len(names), size)]


def _shares(pairs: Iterable[tuple[str, str]], sizes: Mapping[str, int]) -> dict[str, StorageShare]:
    """Stage or tenant to its number of entries and bytes, largest first, from pairs of name and address."""
    entries: Counter[str] = Counter()
    addresses: dict[str, set[str]] = {}
    for name, address in pairs:
        entries[name] += 1
        addresses.setdefault(name, set()).add(address)
    shares = {name: StorageShare(entries[name], sum(sizes.get(a, 0) for a in addresses[name])) for name in entries}
    return dict(sorted(shares.items(), key=lambda item: (-item[1].bytes, item[0])))


def _lost(what: str, why: str, use: EntryUsage | None) -> LostEntry:
    return LostEntry(what, why) if use is None else LostEntry(what, why, use.stage, use.tenant)


def _select_evicted(
    usages: Iterable[EntryUsage],
    sizes: Mapping[str, int],
    retained: set[str],
    max_bytes: int | None,
    older_than: float | None,
) -> list[EntryUsage]:
    """The entries to evict. Adds the addresses of the other entries to `retained`."""
    evicted = []
    for use in sorted(usages, key=lambda use: use.age):
        size = 0 if use.address in retained else sizes.get(use.address, 0)
        too_old = older_than is not None and use.age > older_than
        too_large = max_bytes is not None and size > max_bytes
        if too_old or too_large:
            evicted.append(use)
            max_bytes = 0 if too_large else max_bytes  # smaller entries that were used less recently are evicted too
            continue
        retained.add(use.address)
        max_bytes = None if max_bytes is None else max_bytes - size
    return evicted
