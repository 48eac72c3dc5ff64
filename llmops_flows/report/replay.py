"""Replay of a run from its traces alone: every value is checked against its address, nothing is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from llmops_flows.components.cache.none import is_no_cache
from llmops_flows.core.errors import StoreError
from llmops_flows.core.fingerprint import decode, encode
from llmops_flows.core.redaction import redact_value
from llmops_flows.core.trace import from_stored, trace_id

from .saved_runs import SavedRun
from .traced_run import row_from_trace

Stored = Mapping[str, Any]
"""A trace as it is kept (`core.trace.to_stored`)."""
_GONE = "evicted, or lost"
_CLOCK = ("seconds", "took")
"""Measured times are not compared."""


class TraceSource(Protocol):
    """What a replay asks of the trace store. `read_values` gives bytes from where answers are kept."""

    read_values: Callable[[Sequence[str]], Mapping[str, bytes]] | None

    def stored(self, run: str) -> Mapping[str, Stored | None]: ...

    def stored_addresses(self, wanted: Iterable[str]) -> Sequence[str]: ...

    def contents(self, wanted: Iterable[str]) -> Mapping[str, bytes]: ...


@dataclass(frozen=True)
class ReplayProblem:
    """A row that cannot be replayed, or differs. `row`: its id, "" for the run."""

    kind: Literal["differs", "missing", "failed"]
    row: str
    message: str


@dataclass(frozen=True)
class ReplayedRun:
    """A replayed run. rows: as in results.jsonl. compared: whether there was a results.jsonl to compare with."""

    name: str
    run: str
    rows: tuple[Mapping[str, Any], ...] = ()
    problems: tuple[ReplayProblem, ...] = ()
    compared: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """The number of rows of the run."""
        return len({str(one["id"]) for one in self.rows} | {t.row for t in self.problems if t.row})

    @property
    def unchanged(self) -> int:
        """The number of rows that are exactly as before."""
        broken = {problem.row for problem in self.problems}
        return sum(1 for one in self.rows if str(one["id"]) not in broken)


def replay(variant: SavedRun, kept: TraceSource) -> ReplayedRun:
    """Replay a saved run from the store of its traces."""
    stored = kept.stored(variant.run) if variant.run else {}
    record = _Record([one for one in stored.values() if one is not None], kept)
    damaged = {id for id, one in stored.items() if one is None}
    problems = []
    lines = {str(line.get("id")): line for line in variant.rows} if variant.folder is not None else {}
    rows = []
    for one in record.traces:
        again = redact_value(row_from_trace(from_stored(one, record.values)))
        row_problems = list(_of(one, record))
        if not row_problems and lines:
            row_problems = list(_unlike(lines.get(str(one["record"])), again))
        problems += row_problems
        rows.append(again)
    there = {str(one["record"]) for one in record.traces}
    for id in (id for id in lines if id not in there):
        broken = trace_id(variant.run, id) in damaged
        damaged.discard(trace_id(variant.run, id))
        none = "its trace is not stored" if variant.run else "the id of its run is unknown"
        problems.append(ReplayProblem("missing", id, "its trace is damaged" if broken else none))
    problems += [ReplayProblem("missing", f"trace {id[:8]}", "it is damaged") for id in sorted(damaged)]
    if record.traces and record.config is None:
        problems.append(ReplayProblem("missing", "", "the config of the run is lost"))
    return ReplayedRun(variant.name, variant.run, tuple(rows), tuple(problems), bool(lines), record.config or {})


class _Record:
    """The traces of a run, the values that match their addresses, and why others are missing."""

    def __init__(self, traces: Sequence[Stored], kept: TraceSource) -> None:
        self.traces = traces
        wanted = list(dict.fromkeys(address for one in traces for address in _wanted(one)))
        self.values = {address: decode(data) for address, data in kept.contents(wanted).items()}
        found, why = _elsewhere(kept, [address for address in wanted if address not in self.values])
        self.values |= found
        gone = [address for address in wanted if address not in self.values]
        self.lost = {**dict.fromkeys(gone, why), **dict.fromkeys(kept.stored_addresses(gone), "damaged")}
        configs = [self.values.get(one["config"]) for one in traces]
        self.config: Mapping[str, Any] | None = next((one for one in configs if isinstance(one, Mapping)), None)


def _wanted(one: Stored) -> Iterator[str]:
    """The addresses of all that a trace read and wrote, and of its config."""
    yield from one["inputs"].values()
    yield from one["outputs"].values()
    yield from (address for step in one["steps"] for address in (*step["reads"].values(), step["address"]) if address)
    yield one["config"]


def _elsewhere(kept: TraceSource, addresses: Sequence[str]) -> tuple[dict[str, Any], str]:
    """Values from the answer store, which checks them, with secrets masked; and the cause for missing ones."""
    if kept.read_values is None or not addresses:
        return {}, _GONE
    try:
        return {address: redact_value(decode(data)) for address, data in kept.read_values(addresses).items()}, _GONE
    except StoreError as error:
        return {}, f"not readable: {error}"


def _of(one: Stored, record: _Record) -> Iterator[ReplayProblem]:
    """What is missing of a row."""
    id = str(one["record"])
    if one["error"]:
        yield ReplayProblem("failed", id, f"it failed, and has no answer: {one['error']}")
    for slot, address in one["inputs"].items():
        if address in record.lost:
            yield ReplayProblem("missing", id, f"its input {slot!r} is {record.lost[address]}")
    for step in one["steps"]:
        if step["address"] in record.lost:
            yield ReplayProblem("missing", id, f"the answer of {step['stage']!r} is {_reason(step, record)}")
        elif step["slot"] == "scores" and step["address"]:
            yield from _scored(one, step, record)
    written = {step["address"] for step in one["steps"]}
    for slot, address in one["outputs"].items():
        if address not in written:
            yield ReplayProblem("missing", id, f"its trace is damaged: no stage wrote its {slot!r}")


def _reason(step: Stored, record: _Record) -> str:
    never = "#" in step["key"] or is_no_cache((record.config or {}).get("cache"))
    return "lost, and was not stored for other runs" if never else record.lost[step["address"]]


def _scored(one: Stored, step: Stored, record: _Record) -> Iterator[ReplayProblem]:
    for metric, score in record.values[step["address"]].items():
        traced = one["scores"].get(metric, score)
        if traced != score:
            yield ReplayProblem("differs", str(one["record"]), f"its trace says {metric} {traced}, not {score}")


def _unlike(line: Mapping[str, Any] | None, again: Mapping[str, Any]) -> Iterator[ReplayProblem]:
    """The differences of a row to results.jsonl."""
    id = str(again["id"])
    if line is None:
        yield ReplayProblem("differs", id, "results.jsonl does not have this row")
        return
    for name in dict.fromkeys([*again, *line]):
        if name not in _CLOCK and name in line and encode(line[name]) != encode(again.get(name)):
            values = f": {_short(line[name])}, not {_short(again.get(name))}"
            yield ReplayProblem("differs", id, f"results.jsonl has another {name!r}{values}")


def _short(value: Any, most: int = 60) -> str:
    text = encode(value).decode("utf-8", "replace")
    return text if len(text) <= most else text[: most - 1] + "…"


def as_data(found: Iterable[ReplayedRun]) -> list[dict[str, Any]]:
    """Replays as plain data, for JSON."""
    return [
        {
            "name": one.name, "run": one.run, "rows": list(one.rows), "total": one.total, "unchanged": one.unchanged,
            "compared": one.compared, "config": dict(one.config),
            "problems": [{"kind": t.kind, "row": t.row, "message": t.message} for t in one.problems],
        }
        for one in found
    ]  # fmt: skip
