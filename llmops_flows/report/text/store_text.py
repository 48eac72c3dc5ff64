"""What a store holds, what is damaged in it, and what it let go of, as text."""

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
_UNNAMED = "(not named)"
_MANY = {"entry": "entries", "index": "indexes", "value of a trace": "values of traces"}


@dataclass(frozen=True, slots=True)
class DamagedItem:
    """Something that is damaged. `what` is entry, value, index, trace or file; `name` says which one."""

    what: str
    name: str
    stage: str
    tenant: str
    why: str


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """What was looked at: how many of each kind are good, and everything that is not."""

    store: str
    entries: int
    values: int
    indexes: int
    traces: int
    lost: list[DamagedItem]


def damaged_items(
    answers: Mapping[str, LostEntry], indexes: Sequence[Artifact], traces: Mapping[str, LostEntry]
) -> list[DamagedItem]:
    """Everything that is damaged, in one form."""
    rows = [*answers.items(), *traces.items()]
    found = [DamagedItem(one.what, name, one.stage, one.tenant, one.why) for name, one in rows]
    return found + [
        DamagedItem("index", f"{one.kind}/{one.address}", "", "", "; ".join(one.problems)) for one in indexes
    ]


def format_stats(
    place: str, home: str, found: StoreStats, indexes: Sequence[Artifact], traces: Mapping[str, Any] | None
) -> str:
    """Where things are kept, and how much of what."""
    rows = [
        ("store", place),
        ("home", home),
        ("answers", f"{_answers(found.entries, found.values)}, {format_size(found.bytes)}"),
    ]
    if found.entries:
        times = dict.fromkeys([format_age(found.newest), format_age(found.oldest)])
        rows.append(("last used", f"{' to '.join(times)} ago"))
    rows.append(("at work", _leases(found.leases)))
    kinds = Counter(one.kind for one in indexes)
    listed = f" ({', '.join(f'{kind} {count}' for kind, count in sorted(kinds.items()))})" if kinds else ""
    rows.append(("indexes", f"{len(indexes)}{listed}, {format_size(sum(one.bytes for one in indexes))}"))
    if traces:
        rows.append(
            ("traces", f"{traces['traces']:,} of {plural(traces['runs'], 'run')}, {format_size(traces['bytes'])}")
        )
    head = "\n".join(f"{name:<9}  {text}" for name, text in rows)
    tables = [_shares("stage", found.stages)]
    tables += [_shares("tenant", found.tenants)] if set(found.tenants) - {""} else []
    return "\n\n".join([head, *(table for table in tables if table)])


def format_check(found: StoreCheck, *, repaired: bool) -> str:
    """What was checked, and what is damaged: the first of it one by one, the rest by number."""
    head = (
        f"{found.store}\nas they were written: {_answers(found.entries, found.values)}, "
        f"indexes {found.indexes}, traces {found.traces:,}"
    )
    if not found.lost:
        return f"{head}\nnothing is damaged"
    whole = [f"damaged: {one.name}\n    {one.why}" for one in found.lost if one.what == "file"]
    parts = [one for one in found.lost if one.what != "file"]
    rows = [[one.what, _short(one.name), one.stage, one.tenant, one.why] for one in parts[:_MOST]]
    lines = [head, *whole]
    if rows:
        lines += ["", format_table(["damaged", "which", "stage", "tenant", "what was lost"], rows, stretch=5)]
        lines += [f"… and {len(parts) - _MOST:,} more; --json names all"] if len(parts) > _MOST else []
        lines += ["", _by_stage(parts)]
    if repaired:
        lines.append("dropped: what is needed of it is computed again")
    else:
        lines.append("what is damaged is never given as an answer; `store verify --repair` drops it")
    return "\n".join(lines)


def format_evicted(gone: EvictionReport, *, dry: bool) -> str:
    """What went, or would go."""
    if not gone.entries and not gone.values:
        return "nothing is too much or too old"
    stages = ", ".join(f"{name or _UNNAMED} {count:,}" for name, count in sorted(gone.stages.items()))
    of = f" ({stages})" if stages else ""
    told = (
        f"{plural(gone.entries, 'entry', 'entries')}{of} and {plural(gone.values, 'value')}, {format_size(gone.bytes)}"
    )
    return f"would let go of {told}; nothing was changed" if dry else f"let go of {told}"


def _shares(head: str, shares: Mapping[str, StorageShare]) -> str:
    rows = [[name or _UNNAMED, f"{share.entries:,}", format_size(share.bytes)] for name, share in shares.items()]
    return format_table([head, "entries", "size"], rows) if rows else ""


def _answers(entries: int, values: int) -> str:
    return f"{plural(entries, 'entry', 'entries')}, {plural(values, 'value')}"


def _leases(leases: Mapping[str, int]) -> str:
    if not leases:
        return "nobody computes anything just now"
    who = ", ".join(f"{'/'.join(owner.split('/')[:2])} ({count})" for owner, count in leases.items())
    return f"{plural(sum(leases.values()), 'key')} being computed, by {who}"


def _by_stage(lost: Iterable[DamagedItem]) -> str:
    counts = Counter((one.what, one.stage) for one in lost)
    return ", ".join(
        plural(count, what, _MANY.get(what, "")) + (f" of {stage}" if stage else "")
        for (what, stage), count in sorted(counts.items())
    )


def _short(name: str) -> str:
    """The beginning of a digest, which is all that people look at; other names whole."""
    kind, slash, digest = name.rpartition("/")
    return f"{kind}{slash}{digest[:16]}" if len(digest) in (32, 64) and digest.isalnum() else name
