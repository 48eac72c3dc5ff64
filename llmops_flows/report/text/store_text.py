"""Statistics, damage and evictions of a store for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_flows.artifacts.inventory import Artifact
from llmops_flows.core.plural import plural
from llmops_flows.core.store import EvictionReport, LostEntry, StorageShare, StoreStats

from .amounts import format_age, format_size
from .tables import format_table

_MOST = 30
_UNNAMED = "(unnamed)"
_PLURALS = {"entry": "entries", "index": "indexes", "value of a trace": "values of traces"}


@dataclass(frozen=True, slots=True)
class DamagedItem:
    """A damaged item. what: entry, value, index, trace or file. name: its key, address or path."""

    what: str
    name: str
    stage: str
    tenant: str
    why: str


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """The result of a check: the number of intact items of each kind, and the damaged ones."""

    store: str
    entries: int
    values: int
    indexes: int
    traces: int
    lost: list[DamagedItem]


def damaged_items(
    answers: Mapping[str, LostEntry], indexes: Sequence[Artifact], traces: Mapping[str, LostEntry]
) -> list[DamagedItem]:
    """All damaged items."""
    rows = [*answers.items(), *traces.items()]
    damaged = [DamagedItem(entry.what, name, entry.stage, entry.tenant, entry.why) for name, entry in rows]
    return damaged + [
        DamagedItem("index", f"{index.kind}/{index.address}", "", "", "; ".join(index.problems)) for index in indexes
    ]


def format_stats(
    place: str, home: str, stats: StoreStats, indexes: Sequence[Artifact], traces: Mapping[str, Any] | None
) -> str:
    """The location of the store, and the number and size of its items."""
    rows = [
        ("store", place),
        ("home", home),
        ("answers", f"{_answers(stats.entries, stats.values)}, {format_size(stats.bytes)}"),
    ]
    if stats.entries:
        times = dict.fromkeys([format_age(stats.newest), format_age(stats.oldest)])
        rows.append(("last used", f"{' to '.join(times)} ago"))
    rows.append(("computing", _leases(stats.leases)))
    kinds = Counter(index.kind for index in indexes)
    listed = f" ({', '.join(f'{kind} {count}' for kind, count in sorted(kinds.items()))})" if kinds else ""
    rows.append(("indexes", f"{len(indexes)}{listed}, {format_size(sum(index.bytes for index in indexes))}"))
    if traces:
        rows.append(
            ("traces", f"{traces['traces']:,} of {plural(traces['runs'], 'run')}, {format_size(traces['bytes'])}")
        )
    head = "\n".join(f"{name:<9}  {text}" for name, text in rows)
    tables = [_shares("stage", stats.stages)]
    tables += [_shares("tenant", stats.tenants)] if set(stats.tenants) - {""} else []
    return "\n\n".join([head, *(table for table in tables if table)])


def format_check(check: StoreCheck, *, repaired: bool) -> str:
    """The numbers of intact and damaged items, and the first damaged items."""
    head = (
        f"{check.store}\nintact: {_answers(check.entries, check.values)}, "
        f"indexes {check.indexes}, traces {check.traces:,}"
    )
    if not check.lost:
        return f"{head}\nnothing is damaged"
    files = [f"damaged: {item.name}\n    {item.why}" for item in check.lost if item.what == "file"]
    items = [item for item in check.lost if item.what != "file"]
    rows = [[item.what, _short(item.name), item.stage, item.tenant, item.why] for item in items[:_MOST]]
    lines = [head, *files]
    if rows:
        lines += ["", format_table(["damaged", "name", "stage", "tenant", "cause"], rows, stretch=5)]
        lines += [f"… and {len(items) - _MOST:,} more; --json lists all"] if len(items) > _MOST else []
        lines += ["", _by_stage(items)]
    if repaired:
        lines.append("removed; a run that needs them computes them again")
    else:
        lines.append("damaged items are never used; `store verify --repair` removes them")
    return "\n".join(lines)


def format_evicted(evicted: EvictionReport, *, dry: bool) -> str:
    """The number of items that were evicted, or would be."""
    if not evicted.entries and not evicted.values:
        return "nothing to evict"
    stages = ", ".join(f"{name or _UNNAMED} {count:,}" for name, count in sorted(evicted.stages.items()))
    by_stage = f" ({stages})" if stages else ""
    values = f"{plural(evicted.values, 'value')}, {format_size(evicted.bytes)}"
    items = f"{plural(evicted.entries, 'entry', 'entries')}{by_stage} and {values}"
    return f"would evict {items}; nothing was changed" if dry else f"evicted {items}"


def _shares(head: str, shares: Mapping[str, StorageShare]) -> str:
    rows = [[name or _UNNAMED, f"{share.entries:,}", format_size(share.bytes)] for name, share in shares.items()]
    return format_table([head, "entries", "size"], rows) if rows else ""


def _answers(entries: int, values: int) -> str:
    return f"{plural(entries, 'entry', 'entries')}, {plural(values, 'value')}"


def _leases(leases: Mapping[str, int]) -> str:
    if not leases:
        return "nothing"
    owners = ", ".join(f"{'/'.join(owner.split('/')[:2])} ({count})" for owner, count in leases.items())
    return f"{plural(sum(leases.values()), 'key')} by {owners}"


def _by_stage(lost: Iterable[DamagedItem]) -> str:
    counts = Counter((item.what, item.stage) for item in lost)
    return ", ".join(
        plural(count, what, _PLURALS.get(what, "")) + (f" of {stage}" if stage else "")
        for (what, stage), count in sorted(counts.items())
    )


def _short(name: str) -> str:
    """The start of a digest; other names in full."""
    kind, slash, digest = name.rpartition("/")
    return f"{kind}{slash}{digest[:16]}" if len(digest) in (32, 64) and digest.isalnum() else name
