"""`diff A B`: what two runs differ in; each is an output folder, a point of the last sweep, or a run's id."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_flows.core.errors import ConfigError, Fault, FlowError

from .board import SWEEPS
from .words import parse

if TYPE_CHECKING:
    from llmops_flows.report.comparison import Steps
    from llmops_flows.report.variants import Variant
    from llmops_flows.sinks.traces import TraceStore

_RUNS = 100_000
_SHORTEST = 4


def main(arguments: Sequence[str]) -> int:
    """Print in what B differs from A, as text or as --json. Returns 0, also when they differ."""
    from llmops_flows.report import comparison, comparison_text

    words, flags, _ = parse(arguments, ("--json",))
    if len(words) != 2:
        raise ConfigError(Fault(f"two runs are compared, not {len(words)}", mend="diff A B [--json]"))
    store = _traces()
    try:
        first, second = (_variant(word, store) for word in words)
        steps = _steps(store, first), _steps(store, second)
    finally:
        store.close()
    there = (steps[0], steps[1]) if steps[0] and steps[1] else None
    found = comparison.compare(first, second, there)
    if "--json" in flags:
        print(json.dumps(comparison.as_data(found), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print(comparison_text.text(found), end="")
    return 0


def _traces() -> TraceStore:
    from llmops_flows.config.tracing import exit_of

    return exit_of(["tracer=[local]", "name=diff"])[0]


def _variant(word: str, store: TraceStore) -> Variant:
    """The run that a word names: a folder, the number of a point of the last sweep, or the start of a run's id."""
    from llmops_flows.report import variants

    if Path(word, "results.jsonl").is_file():
        return replace(variants.read(Path(word)), name=word)
    if word.isdigit() and len(word) < _SHORTEST:
        point = variants.latest(SWEEPS) / word
        if not point.is_dir():
            raise FlowError(f"the last sweep, {str(point.parent)!r}, has no point {word}")
        return variants.read(point)
    return _run(word, store)


def _run(word: str, store: TraceStore) -> Variant:
    from llmops_flows.report import traced

    found = [run for run in store.runs(_RUNS) if run.run.startswith(word)] if len(word) >= _SHORTEST else []
    if len(found) != 1:
        told = f"{len(found)} runs begin with {word!r}" if found else f"there is no run {word!r}"
        choices = ", ".join(run.run[:12] for run in (found or store.runs(5))[:5]) or "none"
        kinds = "give an output folder, the number of a point of the last sweep, or a run's id"
        raise FlowError(f"{told}; {kinds} ({'they are' if found else 'the last ones are'} {choices})")
    [run] = found
    return traced.variant(run.run[:12], store.traces(run.run), store.config(run.config))


def _steps(store: TraceStore, variant: Variant) -> Steps:
    from llmops_flows.report.comparison import steps_of

    return steps_of(store.traces(variant.run)) if variant.run else {}
