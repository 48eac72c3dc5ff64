"""The run that a word names: a folder, a point of the last sweep, `last`, or the start of a run's id."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_flows.core.errors import FlowError
from llmops_flows.report.saved_runs import SWEEPS_FOLDER
from llmops_flows.text.suggestions import nearest

if TYPE_CHECKING:
    from llmops_flows.report.saved_runs import SavedRun
    from llmops_flows.tracing.trace_store import TraceStore

LAST = "last"
_RUNS = 100_000
_SHORTEST = 4
_KINDS = "give an output folder, the number of a point of the last sweep, a run's id, or `last`"


@dataclass(frozen=True)
class Named:
    """A run, and the store that keeps its traces."""

    variant: SavedRun
    traces: TraceStore


@contextmanager
def named(*words: str) -> Iterator[list[Named]]:
    """The runs that words name; their stores are closed at the end.

    Raises:
        FlowError: a word names no run, or more than one.
    """
    traces = _traces()
    found = []
    try:
        for word in words:
            variant = _variant(word, traces)
            found.append(Named(variant, _own(variant, traces) or traces))
        yield found
    finally:
        for store in (traces, *(one.traces for one in found)):
            store.close()


def number(word: str) -> bool:
    """Whether a word is the number of a point: ids of runs are longer."""
    return word.isdigit() and len(word) < _SHORTEST


def points(word: str) -> tuple[list[str], dict[str, str]]:
    """The points of a sweep whose folder the word is, and what is wrong with others; else the word itself."""
    from llmops_flows.report import saved_runs

    folder = Path(word)
    if (folder / "results.jsonl").is_file() or not saved_runs.point_folders(folder):
        return [word], {}
    found, lost = saved_runs.read_sweep(folder)
    return [str(one.folder) for one in found], lost


def _traces() -> TraceStore:
    from llmops_flows.config.storage import load_outbox

    return load_outbox(["tracer=[local]", "name=runs"])[0]


def _own(variant: SavedRun, usual: TraceStore) -> TraceStore | None:
    """The store of a run that kept its traces elsewhere than runs do by default (`home=FOLDER`)."""
    from llmops_flows.tracing.trace_file import holds_traces
    from llmops_flows.tracing.trace_store import TraceStore

    local: dict[str, Any] = (variant.config.get("tracer") or {}).get("local") or {}
    path = Path(str(local.get("path") or usual.path))
    if variant.folder is None or path.absolute() == usual.path.absolute() or not holds_traces(path):
        return None
    return TraceStore(path)


def _variant(word: str, store: TraceStore) -> SavedRun:
    from llmops_flows.report import saved_runs

    if Path(word, "results.jsonl").is_file():
        return replace(saved_runs.read_run(Path(word)), name=word)
    if number(word):
        point = saved_runs.latest_sweep(SWEEPS_FOLDER) / word
        if not point.is_dir():
            raise FlowError(f"the last sweep, {str(point.parent)!r}, has no point {word}")
        return saved_runs.read_run(point)
    return _run(word, store)


def _run(word: str, store: TraceStore) -> SavedRun:
    from llmops_flows.report import traced_run

    runs = store.runs(_RUNS)
    if word == LAST:
        found = runs[:1]
    else:
        found = [run for run in runs if run.run.startswith(word)] if len(word) >= _SHORTEST else []
        answer = store.trace(word) if not found else None  # what an app calls the `run_id` of an answer
        found = [run for run in runs if run.run == answer.run] if answer is not None else found
    if len(found) != 1:
        raise FlowError(_told(word, [run.run[:12] for run in found], [run.run[:12] for run in runs]))
    [run] = found
    return traced_run.run_from_traces(run.run[:12], store.traces(run.run), store.config(run.config), run=run.run)


def _told(word: str, found: list[str], runs: list[str]) -> str:
    if found:
        return f"{len(found)} runs begin with {word!r}; {_KINDS} (they are {', '.join(found[:5])})"
    if not runs:
        return f"there is no run {word!r}, nor any other; {_KINDS}"
    guess = nearest(word[:12], [LAST, *runs])
    hint = f"did you mean {guess!r}? " if guess else ""
    if Path(word).is_dir():
        hint = "that folder holds no results.jsonl; "
    return f"there is no run {word!r}; {hint}{_KINDS} (the last ones are {', '.join(runs[:5])})"
