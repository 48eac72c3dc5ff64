"""Finds the run that an argument names: a folder, a point of the last sweep, `last`, or the start of a run's id."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llmops_flows.config.storage import load_outbox
from llmops_flows.core.errors import FlowError
from llmops_flows.report import saved_runs, traced_run
from llmops_flows.report.saved_runs import SWEEPS_FOLDER, SavedRun
from llmops_flows.text.suggestions import nearest
from llmops_flows.tracing.trace_file import holds_traces
from llmops_flows.tracing.trace_store import TraceStore

RUN = "an output folder, the number of a point of the last sweep, the id of a run, or `last`"
LAST = "last"
_MAX_RUNS = 100_000
_MIN_ID = 4
"""Minimum length of the start of a run's id; shorter numbers are points."""


@dataclass(frozen=True)
class NamedRun:
    """A saved run, and the store with its traces."""

    saved: SavedRun
    traces: TraceStore


@contextmanager
def named_runs(*names: str) -> Iterator[list[NamedRun]]:
    """The named runs; their trace stores are closed at the end.

    Raises:
        FlowError: a name matches no run, or more than one.
    """
    with ExitStack() as stack:
        default = stack.enter_context(closing(load_outbox(["tracer=[local]", "name=runs"])[0]))
        runs = []
        for name in names:
            saved = _saved_run(name, default)
            own = _own_traces(saved, default)
            runs.append(NamedRun(saved, stack.enter_context(closing(own)) if own else default))
        yield runs


def point_folders(name: str) -> tuple[list[str], dict[str, str]]:
    """The folders of a sweep's points, and the failures of others; the name itself if it is not a sweep."""
    folder = Path(name)
    if (folder / "results.jsonl").is_file() or not saved_runs.point_folders(folder):
        return [name], {}
    points, failures = saved_runs.read_sweep(folder)
    return [str(point.folder) for point in points], failures


def _own_traces(saved: SavedRun, default: TraceStore) -> TraceStore | None:
    """The trace store of a run whose traces are not in the default one (`home=FOLDER`)."""
    local: dict[str, Any] = (saved.config.get("tracer") or {}).get("local") or {}
    path = Path(str(local.get("path") or default.path))
    if saved.folder is None or path.absolute() == default.path.absolute() or not holds_traces(path):
        return None
    return TraceStore(path)


def _saved_run(name: str, store: TraceStore) -> SavedRun:
    if Path(name, "results.jsonl").is_file():
        return replace(saved_runs.read_run(Path(name)), name=name)
    if name.isdigit() and len(name) < _MIN_ID:
        point = saved_runs.latest_sweep(SWEEPS_FOLDER) / name
        if not point.is_dir():
            raise FlowError(f"point {name} not found in the last sweep, {str(point.parent)!r}")
        return saved_runs.read_run(point)
    return _traced_run(name, store)


def _traced_run(name: str, store: TraceStore) -> SavedRun:
    runs = store.runs(_MAX_RUNS)
    if name == LAST:
        matches = runs[:1]
    else:
        matches = [run for run in runs if run.run.startswith(name)] if len(name) >= _MIN_ID else []
        if not matches and (answer := store.trace(name)) is not None:  # the `run_id` of an answer in an app
            matches = [run for run in runs if run.run == answer.run]
    if len(matches) != 1:
        raise FlowError(_problem(name, [run.run[:12] for run in matches], [run.run[:12] for run in runs]))
    [run] = matches
    return traced_run.run_from_traces(run.run[:12], store.traces(run.run), store.config(run.config), run=run.run)


def _problem(name: str, matches: list[str], runs: list[str]) -> str:
    if matches:
        return f"{len(matches)} runs have an id that starts with {name!r}: {', '.join(matches[:5])}; give {RUN}"
    if not runs:
        return f"unknown run {name!r}; no runs are recorded; give {RUN}"
    hint = ""
    if Path(name).is_dir():
        hint = "the folder has no results.jsonl; "
    elif guess := nearest(name[:12], [LAST, *runs]):
        hint = f"did you mean {guess!r}? "
    return f"unknown run {name!r}; {hint}give {RUN} (latest runs: {', '.join(runs[:5])})"
