"""A trace in the shape of TruLens's events: the record, a span for each stage, an evaluation for each score."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.core.trace import Step, Trace

_CHOICES = ("prompt", "model", "retriever", "guardrail")
"""What people tell the versions of a flow apart by."""
_LOWER = frozenset({"over_refusal"})
"""Metrics of which less is better."""
Attributes = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TruLensApp:
    """What TruLens counts as one app: its records are averaged together on the leaderboard."""

    name: str
    version: str
    id: str

    def record(self, trace: Trace) -> uuid.UUID:
        """One answer to one question by this app: where it is given again unchanged, it is the same record."""
        said = trace.outputs.get("answer") if not trace.error else trace.error
        return uuid.uuid5(uuid.NAMESPACE_OID, repr((self.id, trace.tenant, trace.record, trace.sample, said)))


def trulens_app(trace: Trace, version: str | None = None) -> TruLensApp:
    """The app of a trace: the flow, and as its version what it is made of and the flow's address."""
    chosen = [trace.choices[group] for group in _CHOICES if trace.choices.get(group, "none") != "none"]
    label = version or " ".join([*chosen, trace.identity[:8]])
    numbering = load("trulens.core.utils.json", "trulens")
    return TruLensApp(
        trace.flow, label, numbering.obj_id_of_obj({"app_name": trace.flow, "app_version": label}, prefix="app")
    )


@cache
def attribute_names() -> Any:
    """TruLens's names of attributes; a light module."""
    return load("trulens.otel.semconv.trace", "trulens", "tracer=trulens")


def trulens_events(trace: Trace, app: TruLensApp, record_id: str) -> list[Attributes]:
    """The arguments of TruLens's `Event`s. Their ids are made of what they say: sent again, they are the same."""
    return [_root(trace, app, record_id), *_steps(trace, app, record_id), *_scores(trace, app, record_id)]


def _root(trace: Trace, app: TruLensApp, record_id: str) -> Attributes:
    root, kind = attribute_names().SpanAttributes.RECORD_ROOT, attribute_names().SpanAttributes.SpanType.RECORD_ROOT
    asked = [given["question"] for given in (trace.inputs, *(s.inputs for s in trace.steps)) if "question" in given]
    found = {
        root.INPUT: asked[0] if asked else trace.inputs,
        root.OUTPUT: "" if trace.error else _text(trace.outputs.get("answer")),
        attribute_names().SpanAttributes.INPUT_ID: trace.record,
    }
    if trace.error:
        found[root.ERROR] = trace.error
    if trace.inputs.get("reference") is not None:
        found[root.GROUND_TRUTH_OUTPUT] = trace.inputs["reference"]
    took = sum(step.seconds for step in trace.steps if step.kind != "evaluator")
    about = _About(app, record_id, trace, str(app.record(trace)))
    return about.event("record", trace.flow, kind, found, trace.started, took, bool(trace.error), parent="")


def _steps(trace: Trace, app: TruLensApp, record_id: str) -> Iterator[Attributes]:
    about = _About(app, record_id, trace, str(app.record(trace)))
    for number, step in enumerate(trace.steps):
        if step.kind == "evaluator" and not step.error:
            continue
        kind, found = _told(step)
        spent = {} if step.kind == "evaluator" else _cost(step)
        yield about.event(
            f"{number}.{step.stage}", step.stage, kind, {**found, **spent}, step.started, step.seconds,
            bool(step.error),
        )  # fmt: skip


def _told(step: Step) -> tuple[Any, Attributes]:
    """The type of a stage's span and what TruLens shows of it."""
    spans, kinds = attribute_names().SpanAttributes, attribute_names().SpanAttributes.SpanType
    failed = {spans.CALL.ERROR: step.error} if step.error else {}
    if step.kind == "retriever":
        texts = [found["page_content"] for found in step.output or () if isinstance(found, Mapping)]
        asked = _text(step.inputs.get("question"))
        found = {spans.RETRIEVAL.QUERY_TEXT: asked, spans.RETRIEVAL.RETRIEVED_CONTEXTS: texts}
        return kinds.RETRIEVAL, {**found, spans.RETRIEVAL.NUM_CONTEXTS: len(texts), **failed}
    if step.kind == "guardrail":
        passed = bool((step.verdict or {}).get("passed", not step.error))
        return kinds.GUARDRAIL, {spans.GUARDRAIL.NAME: step.stage, spans.GUARDRAIL.PASSED: passed, **failed}
    given = {f"{spans.CALL.KWARGS}.{name}": _text(value) for name, value in step.inputs.items()}
    said = {spans.CALL.FUNCTION: step.component, spans.CALL.RETURN: _text(step.output), **given, **failed}
    return {"model": kinds.GENERATION, "agent": kinds.AGENT}.get(step.kind, kinds.WORKFLOW_STEP), said


def _scores(trace: Trace, app: TruLensApp, record_id: str) -> Iterator[Attributes]:
    """For each score an evaluation, with one call below it that holds the reasons."""
    spans = attribute_names().SpanAttributes
    about = _About(app, record_id, trace, str(app.record(trace)))
    for step in trace.steps:
        output = step.output if step.kind == "evaluator" and isinstance(step.output, Mapping) else {}
        scored = {metric: score for metric, score in output.items() if score is not None}
        for number, (metric, score) in enumerate(scored.items()):
            spent = _cost(step) if number == 0 else {}
            whole = {
                spans.EVAL_ROOT.METRIC_NAME: metric, spans.EVAL_ROOT.SCORE: float(score),
                spans.EVAL_ROOT.HIGHER_IS_BETTER: metric not in _LOWER, spans.EVAL.TARGET_RECORD_ID: record_id,
            }  # fmt: skip
            root = about.event(
                f"eval.{metric}", metric, spans.SpanType.EVAL_ROOT, {**whole, **spent}, step.started, step.seconds
            )
            part = {
                spans.EVAL.METRIC_NAME: metric, spans.EVAL.SCORE: float(score),
                spans.EVAL.TARGET_RECORD_ID: record_id,
                spans.EVAL.EVAL_ROOT_ID: root["trace"]["span_id"],
                spans.EVAL.EXPLANATION: "\n".join(map(str, step.notes.get("reasons") or ())) or step.component,
                **{f"{spans.CALL.KWARGS}.{name}": _text(value) for name, value in step.inputs.items()},
            }  # fmt: skip
            yield root
            yield about.event(
                f"call.{metric}", metric, spans.SpanType.EVAL, part, step.started, step.seconds,
                parent=root["trace"]["span_id"],
            )  # fmt: skip


def _cost(step: Step) -> Attributes:
    """Tokens and US dollars of a call that was made, not of an answer that was known."""
    if step.state != "computed" or not step.usage:
        return {}
    cost, given, made = (
        attribute_names().SpanAttributes.COST,
        *(int(step.usage.get(name, 0)) for name in ("input_tokens", "output_tokens")),
    )
    return {
        cost.COST: float(step.usage.get("cost_usd") or 0.0), cost.CURRENCY: "USD", cost.NUM_TOKENS: given + made,
        cost.NUM_PROMPT_TOKENS: given, cost.NUM_COMPLETION_TOKENS: made,
        cost.MODEL: str(step.notes.get("model") or step.component),
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class _About:
    """What every event of a record says."""

    app: TruLensApp
    record_id: str
    trace: Trace
    root: str

    def event(
        self, part: str, name: str, kind: Any, found: Attributes, started: float, seconds: float,
        failed: bool = False, *, parent: str | None = None,
    ) -> Attributes:  # fmt: skip
        resource, spans = attribute_names().ResourceAttributes, attribute_names().SpanAttributes
        span = str(uuid.uuid5(uuid.UUID(self.root), part))
        above = str(uuid.uuid5(uuid.UUID(self.root), "record")) if parent is None else parent
        start = datetime.fromtimestamp(started, UTC).replace(tzinfo=None)  # TruLens compares with naive UTC
        end = datetime.fromtimestamp(started + seconds, UTC).replace(tzinfo=None)
        status = "STATUS_CODE_ERROR" if failed else "STATUS_CODE_UNSET"
        place = {
            resource.APP_NAME: self.app.name, resource.APP_VERSION: self.app.version, resource.APP_ID: self.app.id,
        }  # fmt: skip
        mine = {
            spans.SPAN_TYPE: kind.value, spans.RECORD_ID: self.record_id, spans.RUN_NAME: self.trace.run, **place,
        }  # fmt: skip
        return {
            "event_id": span,
            "record": {
                "name": name, "kind": "SPAN_KIND_TRULENS", "parent_span_id": above, "status": status,
            },
            "record_attributes": {**mine, **found},
            "record_type": "SPAN",
            "resource_attributes": place,
            "start_timestamp": start,
            "timestamp": end,
            "trace": {"trace_id": self.trace.id, "parent_id": above, "span_id": span},
        }  # fmt: skip


def _text(value: Any) -> Any:
    """A value as TruLens shows it: text as it is, plain data as it is."""
    return "" if value is None else value
