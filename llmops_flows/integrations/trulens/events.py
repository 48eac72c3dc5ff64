"""A trace as TruLens events: the record, a span for each stage, an evaluation for each score."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.core.trace import Step, Trace

_VERSION_GROUPS = ("prompt", "model", "retriever", "guardrail")
"""Config groups whose options name a version of a flow."""
_LOWER_IS_BETTER = frozenset({"over_refusal"})
Attributes = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TruLensApp:
    """A row of TruLens's leaderboard, which shows the mean of its records."""

    name: str
    version: str
    id: str

    def record_uuid(self, trace: Trace) -> uuid.UUID:
        """The id of an answer to a question. Equal answers have equal ids."""
        answer = trace.outputs.get("answer") if not trace.error else trace.error
        return uuid.uuid5(uuid.NAMESPACE_OID, repr((self.id, trace.tenant, trace.record, trace.sample, answer)))


def trulens_app(trace: Trace, version: str | None = None) -> TruLensApp:
    """The app of a trace. Its version names the chosen options and the identity of the flow."""
    options = [trace.choices[group] for group in _VERSION_GROUPS if trace.choices.get(group, "none") != "none"]
    label = version or " ".join([*options, trace.identity[:8]])
    hashing = load("trulens.core.utils.json", "trulens")
    return TruLensApp(
        trace.flow, label, hashing.obj_id_of_obj({"app_name": trace.flow, "app_version": label}, prefix="app")
    )


@cache
def attribute_names() -> Any:
    """TruLens's module of attribute names, which imports fast."""
    return load("trulens.otel.semconv.trace", "trulens", "tracer=trulens")


def trulens_events(trace: Trace, app: TruLensApp, record_id: str) -> list[Attributes]:
    """The arguments of TruLens's `Event`s. Ids are derived from the content, so sending it twice has no effect."""
    return [_root(trace, app, record_id), *_steps(trace, app, record_id), *_scores(trace, app, record_id)]


def _root(trace: Trace, app: TruLensApp, record_id: str) -> Attributes:
    root, kind = attribute_names().SpanAttributes.RECORD_ROOT, attribute_names().SpanAttributes.SpanType.RECORD_ROOT
    inputs = (trace.inputs, *(step.inputs for step in trace.steps))
    questions = [slots["question"] for slots in inputs if "question" in slots]
    attributes = {
        root.INPUT: questions[0] if questions else trace.inputs,
        root.OUTPUT: "" if trace.error else _text(trace.outputs.get("answer")),
        attribute_names().SpanAttributes.INPUT_ID: trace.record,
    }
    if trace.error:
        attributes[root.ERROR] = trace.error
    if trace.inputs.get("reference") is not None:
        attributes[root.GROUND_TRUTH_OUTPUT] = trace.inputs["reference"]
    seconds = sum(step.seconds for step in trace.steps if step.kind != "evaluator")
    events = _RecordEvents(app, record_id, trace, str(app.record_uuid(trace)))
    return events.event("record", trace.flow, kind, attributes, trace.started, seconds, bool(trace.error), parent="")


def _steps(trace: Trace, app: TruLensApp, record_id: str) -> Iterator[Attributes]:
    events = _RecordEvents(app, record_id, trace, str(app.record_uuid(trace)))
    for number, step in enumerate(trace.steps):
        if step.kind == "evaluator" and not step.error:
            continue
        kind, attributes = _stage_attributes(step)
        cost = {} if step.kind == "evaluator" else _cost(step)
        yield events.event(
            f"{number}.{step.stage}", step.stage, kind, {**attributes, **cost}, step.started, step.seconds,
            bool(step.error),
        )  # fmt: skip


def _stage_attributes(step: Step) -> tuple[Any, Attributes]:
    """The type of a stage's span, and its attributes."""
    spans, kinds = attribute_names().SpanAttributes, attribute_names().SpanAttributes.SpanType
    error = {spans.CALL.ERROR: step.error} if step.error else {}
    if step.kind == "retriever":
        texts = [document["page_content"] for document in step.output or () if isinstance(document, Mapping)]
        question = _text(step.inputs.get("question"))
        attributes = {spans.RETRIEVAL.QUERY_TEXT: question, spans.RETRIEVAL.RETRIEVED_CONTEXTS: texts}
        return kinds.RETRIEVAL, {**attributes, spans.RETRIEVAL.NUM_CONTEXTS: len(texts), **error}
    if step.kind == "guardrail":
        passed = bool((step.verdict or {}).get("passed", not step.error))
        return kinds.GUARDRAIL, {spans.GUARDRAIL.NAME: step.stage, spans.GUARDRAIL.PASSED: passed, **error}
    arguments = {f"{spans.CALL.KWARGS}.{name}": _text(value) for name, value in step.inputs.items()}
    attributes = {spans.CALL.FUNCTION: step.component, spans.CALL.RETURN: _text(step.output), **arguments, **error}
    return {"model": kinds.GENERATION, "agent": kinds.AGENT}.get(step.kind, kinds.WORKFLOW_STEP), attributes


def _scores(trace: Trace, app: TruLensApp, record_id: str) -> Iterator[Attributes]:
    """An evaluation for each score, with a child that contains the reasons."""
    spans = attribute_names().SpanAttributes
    events = _RecordEvents(app, record_id, trace, str(app.record_uuid(trace)))
    for step in trace.steps:
        output = step.output if step.kind == "evaluator" and isinstance(step.output, Mapping) else {}
        scores = {metric: score for metric, score in output.items() if score is not None}
        for number, (metric, score) in enumerate(scores.items()):
            cost = _cost(step) if number == 0 else {}
            evaluation = {
                spans.EVAL_ROOT.METRIC_NAME: metric, spans.EVAL_ROOT.SCORE: float(score),
                spans.EVAL_ROOT.HIGHER_IS_BETTER: metric not in _LOWER_IS_BETTER,
                spans.EVAL.TARGET_RECORD_ID: record_id,
            }  # fmt: skip
            root = events.event(
                f"eval.{metric}", metric, spans.SpanType.EVAL_ROOT, {**evaluation, **cost}, step.started, step.seconds
            )
            reasons = {
                spans.EVAL.METRIC_NAME: metric, spans.EVAL.SCORE: float(score),
                spans.EVAL.TARGET_RECORD_ID: record_id,
                spans.EVAL.EVAL_ROOT_ID: root["trace"]["span_id"],
                spans.EVAL.EXPLANATION: "\n".join(map(str, step.notes.get("reasons") or ())) or step.component,
                **{f"{spans.CALL.KWARGS}.{name}": _text(value) for name, value in step.inputs.items()},
            }  # fmt: skip
            yield root
            yield events.event(
                f"call.{metric}", metric, spans.SpanType.EVAL, reasons, step.started, step.seconds,
                parent=root["trace"]["span_id"],
            )  # fmt: skip


def _cost(step: Step) -> Attributes:
    """Tokens and US dollars of a computed answer; nothing for a cached one."""
    if step.state != "computed" or not step.usage:
        return {}
    cost = attribute_names().SpanAttributes.COST
    input_tokens, output_tokens = (int(step.usage.get(name, 0)) for name in ("input_tokens", "output_tokens"))
    return {
        cost.COST: float(step.usage.get("cost_usd") or 0.0), cost.CURRENCY: "USD",
        cost.NUM_TOKENS: input_tokens + output_tokens,
        cost.NUM_PROMPT_TOKENS: input_tokens, cost.NUM_COMPLETION_TOKENS: output_tokens,
        cost.MODEL: str(step.notes.get("model") or step.component),
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class _RecordEvents:
    """Makes the events of one record. `root` is the UUID that their ids are derived from."""

    app: TruLensApp
    record_id: str
    trace: Trace
    root: str

    def event(
        self, label: str, name: str, kind: Any, attributes: Attributes, started: float, seconds: float,
        failed: bool = False, *, parent: str | None = None,
    ) -> Attributes:  # fmt: skip
        resource, spans = attribute_names().ResourceAttributes, attribute_names().SpanAttributes
        span = str(uuid.uuid5(uuid.UUID(self.root), label))
        parent_id = str(uuid.uuid5(uuid.UUID(self.root), "record")) if parent is None else parent
        start = datetime.fromtimestamp(started, UTC).replace(tzinfo=None)  # TruLens compares with naive UTC
        end = datetime.fromtimestamp(started + seconds, UTC).replace(tzinfo=None)
        status = "STATUS_CODE_ERROR" if failed else "STATUS_CODE_UNSET"
        app = {
            resource.APP_NAME: self.app.name, resource.APP_VERSION: self.app.version, resource.APP_ID: self.app.id,
        }  # fmt: skip
        common = {
            spans.SPAN_TYPE: kind.value, spans.RECORD_ID: self.record_id, spans.RUN_NAME: self.trace.run, **app,
        }  # fmt: skip
        return {
            "event_id": span,
            "record": {
                "name": name, "kind": "SPAN_KIND_TRULENS", "parent_span_id": parent_id, "status": status,
            },
            "record_attributes": {**common, **attributes},
            "record_type": "SPAN",
            "resource_attributes": app,
            "start_timestamp": start,
            "timestamp": end,
            "trace": {"trace_id": self.trace.id, "parent_id": parent_id, "span_id": span},
        }  # fmt: skip


def _text(value: Any) -> Any:
    """The value; "" for None, which TruLens does not display."""
    return "" if value is None else value
