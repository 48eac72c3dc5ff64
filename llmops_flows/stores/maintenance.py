"""Care of a store: is everything as it was written, how much is there, and what is let go for want of room."""

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

TOUCH_SECONDS = 86_400.0
"""Seconds after which reading an entry counts as using it anew: one more write a day for what is in use."""
BATCH = 500
"""Rows that are asked for, or removed, in one go: nobody else waits longer than that takes."""


@dataclass(frozen=True, slots=True)
class EntryUsage:
    """An entry, its value, how many seconds ago it was last written or read (to a day), and whose it is."""

    key: str
    address: str
    age: float
    stage: str = ""
    tenant: str = ""


class MonotonicClock:
    """The time of day, which never goes back: what is written later is younger, also where the clock was set back."""

    def __init__(self) -> None:
        self._last = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        with self._lock:
            self._last = max(self._last + 1e-6, time.time())
            return self._last


class StoreMaintenance(ABC):
    """What a store that gives its rows can tell about them, and do with them."""

    # -- what a store gives ----------------------------------------------------------------------------------------

    @abstractmethod
    def usages(self) -> Sequence[EntryUsage]:
        """Every entry, without looking at its seal."""

    @abstractmethod
    def value_sizes(self) -> Mapping[str, int]:
        """Bytes of every value, by address."""

    @abstractmethod
    def lease_owners(self) -> Sequence[str]:
        """For every lease that is in force, who has it."""

    @abstractmethod
    def check_entries(self, keys: Sequence[str]) -> tuple[dict[str, Entry], list[str]]:
        """Of at most BATCH keys: the entries that are as they were written, and the keys of those that are not."""

    @abstractmethod
    def check_values(self, addresses: Sequence[str]) -> tuple[dict[str, bytes], list[str]]:
        """Of at most BATCH addresses: the values that fit theirs, and the addresses of those that do not."""

    @abstractmethod
    def delete_rows(self, keys: Sequence[str], addresses: Sequence[str]) -> None:
        """Remove at most BATCH entries, and of the values those that no entry needs any more."""

    def compact(self) -> None:  # noqa: B027  # most stores have nothing to do
        """Give the room of what was removed back, where nobody else does."""

    # -- what comes of it ------------------------------------------------------------------------------------------

    def stats(self) -> StoreStats:
        """How much there is, and of what."""
        usages, value_sizes = self.usages(), self.value_sizes()
        ages = [max(0.0, use.age) for use in usages] or [0.0]
        return StoreStats(
            len(usages),
            len(value_sizes),
            sum(value_sizes.values()),
            max(ages),
            min(ages),
            dict(Counter(self.lease_owners())),
            _shares(((use.stage, use.address) for use in usages), value_sizes),
            _shares(((use.tenant, use.address) for use in usages), value_sizes),
        )

    def verify(self, *, repair: bool = True) -> VerificationReport:
        """Check every entry's seal, every value's address, and that no entry lacks its value."""
        usages = self.usages()
        known = {use.key: use for use in usages} | {use.address: use for use in usages}
        values, broken = self._checked(self.value_sizes())
        entries: dict[str, Entry] = {}
        lost = {address: _lost("value", "its bytes do not fit its address", known.get(address)) for address in broken}
        for part in batches(use.key for use in usages):
            found, bad = self.check_entries(part)
            entries.update(found)
            lost |= {key: _lost("entry", "its seal does not fit, or is of another key", known[key]) for key in bad}
        # What was written since the value_sizes were taken is not lost.
        values |= self._checked(e.address for e in entries.values() if e.address not in values)[0]
        orphans = [key for key, entry in entries.items() if entry.address not in values]
        lost |= {key: _lost("entry", "its value is lost", known[key]) for key in orphans}
        if repair and lost:
            self._remove([use.key for use in usages if use.key in lost], broken)
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
        """Let go of what is too old, then of what is too much: the longest unused first."""
        usages, value_sizes = self.usages(), self.value_sizes()
        chosen = [use for use in usages if stage in (None, use.stage) and tenant in (None, use.tenant)]
        everything = len(chosen) == len(usages)
        if max_bytes is None and older_than is None and (stage, tenant) != (None, None):
            older_than = float("-inf")
        keys = {use.key for use in chosen}
        stays = {use.address for use in usages if use.key not in keys}
        leaving = _leaving(chosen, value_sizes, stays, max_bytes, older_than)
        # What nobody refers to goes too, where all entries were looked at.
        left = value_sizes if everything else dict.fromkeys(use.address for use in leaving)
        addresses = [address for address in left if address in value_sizes and address not in stays]
        if not dry:
            self._remove([use.key for use in leaving], addresses)
            self.compact()
        gone = sum(value_sizes[address] for address in addresses)
        return EvictionReport(len(leaving), len(addresses), gone, dict(Counter(use.stage for use in leaving)))

    def _checked(self, addresses: Iterable[str]) -> tuple[set[str], list[str]]:
        values: set[str] = set()
        broken: list[str] = []
        for part in batches(addresses):
            good, bad = self.check_values(part)
            values.update(good)
            broken += bad
        return values, broken

    def _remove(self, keys: Sequence[str], addresses: Sequence[str]) -> None:
        for part in batches(sorted(keys)):  # neighbours lie together
            self.delete_rows(part, [])
        for part in batches(addresses):
            self.delete_rows([], part)


def entry_usage(key: str, address: str, meta: Any, age: float) -> EntryUsage:
    """An entry whose facts say which stage computed it, and for which tenant; damaged ones say nothing."""
    try:
        facts = decode(meta)
        stage, tenant = facts.get("stage", ""), facts.get("tenant", "")
    except (ValueError, TypeError, AttributeError, RecursionError):
        stage = tenant = ""
    return EntryUsage(
        key, address, max(0.0, age), stage if type(stage) is str else "", tenant if type(tenant) is str else ""
    )


def valid_values(values: Mapping[str, Any]) -> tuple[dict[str, bytes], list[str]]:
    """The values that fit their addresses, and the addresses of those that do not."""
    good = {a: data for a, data in values.items() if type(data) is bytes and digest(data) == a}
    return good, [address for address in values if address not in good]


def batches(names: Iterable[str], most: int = BATCH) -> list[list[str]]:
    """The names in lists of at most `most`."""
    listed = list(names)
    return [listed[first : first + most] for first in range(0, len(listed), most)]


def _shares(parts: Iterable[tuple[str, str]], value_sizes: Mapping[str, int]) -> dict[str, StorageShare]:
    """Name to how many entries and bytes it has, the largest first."""
    entries: Counter[str] = Counter()
    values: dict[str, set[str]] = {}
    for name, address in parts:
        entries[name] += 1
        values.setdefault(name, set()).add(address)
    found = {name: StorageShare(entries[name], sum(value_sizes.get(a, 0) for a in values[name])) for name in entries}
    return dict(sorted(found.items(), key=lambda item: (-item[1].bytes, item[0])))


def _lost(what: str, why: str, use: EntryUsage | None) -> LostEntry:
    return LostEntry(what, why) if use is None else LostEntry(what, why, use.stage, use.tenant)


def _leaving(
    usages: Iterable[EntryUsage],
    value_sizes: Mapping[str, int],
    stays: set[str],
    room: int | None,
    older_than: float | None,
) -> list[EntryUsage]:
    """Those of the entries that must go, so that the others fit into the room; values of these join `stays`."""
    leaving = []
    for use in sorted(usages, key=lambda use: use.age):
        size = 0 if use.address in stays else value_sizes.get(use.address, 0)
        old = older_than is not None and use.age > older_than
        full = room is not None and size > room
        if old or full:
            leaving.append(use)
            room = 0 if full else room  # what is used less may not stay in its place
            continue
        stays.add(use.address)
        room = None if room is None else room - size
    return leaving
