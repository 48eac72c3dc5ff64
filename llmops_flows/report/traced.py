"""A run as a variant, from its traces: for runs that left no output folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmops_flows.core.record import Usage, add_usage
from llmops_flows.core.trace import Trace

from .variants import Variant


def variant(name: str, traces: Sequence[Trace], config: Mapping[str, Any] | None = None) -> Variant:
    """The variant that the traces of one run tell of."""
    choices = next((trace.choices for trace in traces), {})
    run = next((trace.run for trace in traces), "")
    return Variant(name, run, config or {}, [_row(trace) for trace in traces], choices=choices)


def _row(trace: Trace) -> dict[str, Any]:
    usage, took = Usage(), dict[str, float]()
    for step in trace.steps:
        took[step.stage] = took.get(step.stage, 0.0) + max(step.took, step.seconds)
        if step.kind != "evaluator":
            usage = add_usage(usage, step.usage)  # type: ignore[arg-type]
    return {
        "id": trace.record, "sample": trace.sample, "question": trace.inputs.get("question"),
        "answer": trace.outputs.get("answer"), "reference": trace.inputs.get("reference"),
        "error": trace.error or None, "ended": trace.ended or None, "scores": dict(trace.scores),
        "verdicts": dict(trace.verdicts), "usage": dict(trace.usage), "full_usage": dict(usage),
        "stages": {step.stage: step.state for step in trace.steps}, "took": took, "seconds": trace.seconds,
    }  # fmt: skip
