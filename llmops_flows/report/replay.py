"""Replay of a run from its traces only: values are checked against their addresses, and nothing is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from llmops_flows.components.cache.none import is_no_cache
from llmops_flows.core.errors import StoreError
from llmops_flows.core.fingerprint import decode, encode
from llmops_flows.core.redaction import redact_value
from llmops_flows.core.trace import from_stored, trace_id

from .saved_runs import SavedRun
from .traced_run import row_from_trace

Stored = Mapping[str, Any]
"""A trace in stored form (`core.trace.to_stored`)."""
_EVICTED = "evicted, or lost"
_TIMES = ("seconds", "took")
"""Measured times are not compared."""


class TraceSource(Protocol):
    """The part of the trace store that a replay uses. `read_values` reads bytes from the answer store."""

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
    """A replayed run. rows: as in results.jsonl. compared: whether they were compared with a results.jsonl."""

    name: str
    run: str
    rows: tuple[Mapping[str, Any], ...] = ()
    problems: tuple[ReplayProblem, ...] = ()
    compared: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """The number of rows of the run."""
        return len({str(row["id"]) for row in self.rows} | {problem.row for problem in self.problems if problem.row})

    @property
    def unchanged(self) -> int:
        """The number of rows that are exactly as before."""
        with_problems = {problem.row for problem in self.problems}
        return sum(1 for row in self.rows if str(row["id"]) not in with_problems)


def replay(run: SavedRun, traces: TraceSource) -> ReplayedRun:
    """Replay a saved run from the store of its traces."""
    stored = traces.stored(run.run) if run.run else {}
    values = _StoredValues([trace for trace in stored.values() if trace is not None], traces)
    damaged = {id for id, trace in stored.items() if trace is None}
    problems = []
    lines = {str(line.get("id")): line for line in run.rows} if run.folder is not None else {}
    rows = []
    for trace in values.traces:
        row = redact_value(row_from_trace(from_stored(trace, values.known)))
        row_problems = list(_missing(trace, values))
        if not row_problems and lines:
            row_problems = list(_differences(lines.get(str(trace["record"])), row))
        problems += row_problems
        rows.append(row)
    traced = {str(trace["record"]) for trace in values.traces}
    for id in (id for id in lines if id not in traced):
        is_damaged = trace_id(run.run, id) in damaged
        damaged.discard(trace_id(run.run, id))
        not_stored = "its trace is not stored" if run.run else "the id of its run is unknown"
        problems.append(ReplayProblem("missing", id, "its trace is damaged" if is_damaged else not_stored))
    problems += [ReplayProblem("missing", f"trace {id[:8]}", "it is damaged") for id in sorted(damaged)]
    if values.traces and values.config is None:
        problems.append(ReplayProblem("missing", "", "the config of the run is lost"))
    return ReplayedRun(run.name, run.run, tuple(rows), tuple(problems), bool(lines), values.config or {})


class _StoredValues:
    """The traces of a run and their values. known: address to value. lost: address to why it cannot be read."""

    def __init__(self, traces: Sequence[Stored], source: TraceSource) -> None:
        self.traces = traces
        addresses = list(dict.fromkeys(address for trace in traces for address in _addresses(trace)))
        self.known = {address: decode(data) for address, data in source.contents(addresses).items()}
        answers, cause = _from_answer_store(source, [address for address in addresses if address not in self.known])
        self.known |= answers
        lost = [address for address in addresses if address not in self.known]
        self.lost = {**dict.fromkeys(lost, cause), **dict.fromkeys(source.stored_addresses(lost), "damaged")}
        configs = [self.known.get(trace["config"]) for trace in traces]
        self.config: Mapping[str, Any] | None = next((c for c in configs if isinstance(c, Mapping)), None)


def _addresses(trace: Stored) -> Iterator[str]:
    """The addresses of all values that a trace read and wrote, and of its config."""
    yield from trace["inputs"].values()
    yield from trace["outputs"].values()
    yield from (address for step in trace["steps"] for address in (*step["reads"].values(), step["address"]) if address)
    yield trace["config"]


def _from_answer_store(source: TraceSource, addresses: Sequence[str]) -> tuple[dict[str, Any], str]:
    """Values from the answer store, which checks them, with secrets masked; and why the others are missing."""
    if source.read_values is None or not addresses:
        return {}, _EVICTED
    try:
        return {
            address: redact_value(decode(data)) for address, data in source.read_values(addresses).items()
        }, _EVICTED
    except StoreError as error:
        return {}, f"not readable: {error}"


def _missing(trace: Stored, values: _StoredValues) -> Iterator[ReplayProblem]:
    """The values of a row that are missing, and scores that differ from those of the trace."""
    id = str(trace["record"])
    if trace["error"]:
        yield ReplayProblem("failed", id, f"it failed, and has no answer: {trace['error']}")
    for slot, address in trace["inputs"].items():
        if address in values.lost:
            yield ReplayProblem("missing", id, f"its input {slot!r} is {values.lost[address]}")
    for step in trace["steps"]:
        if step["address"] in values.lost:
            yield ReplayProblem("missing", id, f"the answer of {step['stage']!r} is {_cause(step, values)}")
        elif step["slot"] == "scores" and step["address"]:
            yield from _score_differences(trace, step, values)
    written = {step["address"] for step in trace["steps"]}
    for slot, address in trace["outputs"].items():
        if address not in written:
            yield ReplayProblem("missing", id, f"its trace is damaged: no stage wrote its {slot!r}")


def _cause(step: Stored, values: _StoredValues) -> str:
    not_stored = "#" in step["key"] or is_no_cache((values.config or {}).get("cache"))
    return "lost, and was not stored for other runs" if not_stored else values.lost[step["address"]]


def _score_differences(trace: Stored, step: Stored, values: _StoredValues) -> Iterator[ReplayProblem]:
    for metric, score in values.known[step["address"]].items():
        traced = trace["scores"].get(metric, score)
        if traced != score:
            yield ReplayProblem("differs", str(trace["record"]), f"{metric} is {traced} in its trace, not {score}")


def _differences(line: Mapping[str, Any] | None, row: Mapping[str, Any]) -> Iterator[ReplayProblem]:
    """The differences of a row to its line in results.jsonl."""
    id = str(row["id"])
    if line is None:
        yield ReplayProblem("differs", id, "results.jsonl does not have this row")
        return
    for name in dict.fromkeys([*row, *line]):
        if name not in _TIMES and name in line and encode(line[name]) != encode(row.get(name)):
            values = f": {_short(line[name])}, not {_short(row.get(name))}"
            yield ReplayProblem("differs", id, f"results.jsonl has another {name!r}{values}")


def _short(value: Any, length: int = 60) -> str:
    text = encode(value).decode("utf-8", "replace")
    return text if len(text) <= length else text[: length - 1] + "…"


def as_data(runs: Iterable[ReplayedRun]) -> list[dict[str, Any]]:
    """Replays as plain data, for JSON."""
    return [
        {
            "name": run.name, "run": run.run, "rows": list(run.rows), "total": run.total, "unchanged": run.unchanged,
            "compared": run.compared, "config": dict(run.config),
            "problems": [asdict(problem) for problem in run.problems],
        }
        for run in runs
    ]  # fmt: skip
