"""Care of a store: is everything as it was written, how much is there, and what is let go for want of room."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from llmops_flows.core.store import Entry, Evicted, Stats, Verified

TOUCHED = 86_400.0
"""Seconds after which reading an entry counts as using it anew: one more write a day for what is in use."""
BATCH = 500
"""Rows that are asked for, or removed, in one go: nobody else waits longer than that takes."""


@dataclass(frozen=True, slots=True)
class Use:
    """An entry, its value, and how many seconds ago it was last written or read (to a day, see TOUCHED)."""

    key: str
    address: str
    age: float


class Rows(Protocol):
    """What `statistics`, `verified` and `evicted` need of a store."""

    def uses(self) -> Sequence[Use]:
        """Every entry, without looking at its seal."""
        ...

    def sizes(self) -> Mapping[str, int]:
        """Bytes of every value, by address."""
        ...

    def look(self, keys: Sequence[str]) -> tuple[dict[str, Entry], list[str]]:
        """Of at most BATCH keys: the entries that are as they were written, and the keys of those that are not."""
        ...

    def check(self, addresses: Sequence[str]) -> tuple[dict[str, bytes], list[str]]:
        """Of at most BATCH addresses: the values that fit theirs, and the addresses of those that do not."""
        ...

    def remove(self, keys: Sequence[str], addresses: Sequence[str]) -> None:
        """Remove at most BATCH entries, and of the values those that no entry needs any more."""
        ...


def statistics(rows: Rows) -> Stats:
    """How much a store holds."""
    uses, sizes = rows.uses(), rows.sizes()
    return Stats(len(uses), len(sizes), sum(sizes.values()), max((use.age for use in uses), default=0.0))


def verified(rows: Rows, *, repair: bool) -> Verified:
    """Check every entry's seal, every value's address, and that no entry lacks its value."""
    uses = rows.uses()
    values: set[str] = set()
    entries: dict[str, Entry] = {}
    lost: dict[str, str] = {}
    broken: list[str] = []
    for part in batches(rows.sizes()):
        good, bad = rows.check(part)
        values.update(good)
        broken += bad
        lost.update(dict.fromkeys(bad, "value: its bytes do not fit its address"))
    for part in batches(use.key for use in uses):
        found, bad = rows.look(part)
        entries.update(found)
        lost.update(dict.fromkeys(bad, "entry: its seal does not fit, or is of another key"))
    orphans = [key for key, entry in entries.items() if entry.address not in values]
    lost.update(dict.fromkeys(orphans, "entry: its value is lost"))
    if repair and lost:
        _remove(rows, [use.key for use in uses if use.key in lost], broken)
    return Verified(len(entries) - len(orphans), len(values), lost)


def evicted(rows: Rows, *, max_bytes: int | None, older_than: float | None) -> Evicted:
    """Remove what is too old, then what is too much: the longest unused first, and values that nobody refers to."""
    uses, sizes = rows.uses(), rows.sizes()
    stays: set[str] = set()
    room, leaving = max_bytes, []
    for use in sorted(uses, key=lambda use: use.age):
        size = 0 if use.address in stays else sizes.get(use.address, 0)
        old = older_than is not None and use.age > older_than
        full = room is not None and size > room
        if old or full:
            leaving.append(use.key)
            room = 0 if full else room  # what is used less may not stay in its place
            continue
        stays.add(use.address)
        room = None if room is None else room - size
    addresses = [address for address in sizes if address not in stays]
    _remove(rows, leaving, addresses)
    return Evicted(len(leaving), len(addresses), sum(sizes[address] for address in addresses))


def batches(names: Iterable[str], most: int = BATCH) -> list[list[str]]:
    """The names in lists of at most `most`."""
    listed = list(names)
    return [listed[first : first + most] for first in range(0, len(listed), most)]


def _remove(rows: Rows, keys: Sequence[str], addresses: Sequence[str]) -> None:
    for part in batches(keys):
        rows.remove(part, [])
    for part in batches(addresses):
        rows.remove([], part)
