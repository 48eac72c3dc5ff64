"""A saved run from its traces: for runs without an output folder, and to check output files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmops_flows.core.record import Usage, add_usage
from llmops_flows.core.trace import Step, Trace

from .saved_runs import SavedRun


def run_from_traces(
    name: str, traces: Sequence[Trace], config: Mapping[str, Any] | None = None, *, run: str = ""
) -> SavedRun:
    """The run of these traces, which all belong to it."""
    choices = next((trace.choices for trace in traces), {})
    run = next((trace.run for trace in traces), run)
    return SavedRun(name, run, config or {}, [row_from_trace(trace) for trace in traces], choices=choices)


def row_from_trace(trace: Trace) -> dict[str, Any]:
    """The line of results.jsonl for a record (`report.summary.results_row`)."""
    slots = {**trace.inputs, **trace.outputs}
    usage, took, seconds = Usage(), dict[str, float](), 0.0
    for step in trace.steps:
        took[step.stage] = round(took.get(step.stage, 0.0) + max(step.took, step.seconds), 6)
        if not _scoring(trace, step):
            usage = add_usage(usage, step.usage)  # type: ignore[arg-type]
            seconds += step.seconds
    similar = (step.notes.get("similar_question") for step in trace.steps if step.state == "similar")
    return {
        "id": trace.record, "sample": trace.sample, "question": slots.get("question"),
        "answer": slots.get("answer"), "reference": slots.get("reference"),
        "error": trace.error or None, "ended": trace.ended or None, "scores": dict(trace.scores),
        "verdicts": dict(trace.verdicts), "usage": dict(trace.usage),
        "stages": {step.stage: step.state for step in trace.steps}, "similar_to": next(similar, None),
        "seconds": round(seconds, 6), "took": took, "full_usage": dict(usage),
    }  # fmt: skip


def _scoring(trace: Trace, step: Step) -> bool:
    """Whether a step is an evaluator's (see `report.summary.is_scoring`)."""
    if step.slot == "scores":
        return True
    return not trace.error and step.state in ("failed", "skipped") and "." not in step.stage
