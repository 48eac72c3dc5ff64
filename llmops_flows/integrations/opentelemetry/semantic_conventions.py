"""Names and attributes of spans by OpenTelemetry's GenAI conventions, which are still in development."""

from __future__ import annotations

from typing import Any

from llmops_flows.core.trace import Step, Trace

SERVICE = "service.name"
OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
TEMPERATURE = "gen_ai.request.temperature"
MAX_TOKENS = "gen_ai.request.max_tokens"
FINISH_REASONS = "gen_ai.response.finish_reasons"
FIRST_TOKEN = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
DOCUMENTS = "gen_ai.retrieval.documents"
QUERY = "gen_ai.retrieval.query.text"
AGENT = "gen_ai.agent.name"
ERROR = "error.type"
OWN = "llmops_flows."
"""Prefix of attributes that the conventions do not define."""

_OPERATIONS = {"model": "chat", "retriever": "retrieval", "agent": "invoke_agent"}
Attributes = dict[str, Any]


def of_trace(trace: Trace, content: bool) -> Attributes:
    """The attributes of the span of a record."""
    attributes: Attributes = {
        OPERATION: "invoke_workflow", "gen_ai.workflow.name": trace.flow, ERROR: trace.error_kind,
        **_own(run=trace.run, record=trace.record, config=trace.config, tenant=trace.tenant, ended=trace.ended),
        **_own(tags=list(trace.tags) or None, cost_usd=trace.usage.get("cost_usd")),
        INPUT_TOKENS: trace.usage.get("input_tokens"), OUTPUT_TOKENS: trace.usage.get("output_tokens"),
        **{f"{OWN}score.{metric}": score for metric, score in trace.scores.items()},
        **{f"{OWN}choice.{group}": option for group, option in trace.choices.items()},
    }  # fmt: skip
    if content:
        attributes |= _own(inputs=trace.inputs, answer=trace.outputs.get("answer"))
    return attributes


def of_step(step: Step, content: bool) -> tuple[str, Attributes]:
    """The name and the attributes of the span of a stage."""
    operation = _OPERATIONS.get(step.kind)
    attributes: Attributes = {
        **_own(stage=step.stage, kind=step.kind, state=step.state, component=step.component, key=step.key),
        **_own(verdict=step.verdict), ERROR: "StageError" if step.error else None, OPERATION: operation,
    }  # fmt: skip
    model = str(step.notes.get("model") or step.settings.get("name") or "")
    if step.kind == "model":
        attributes |= _model(step, model)
    if content:
        attributes |= _content(step)
    title = f"{operation} {model if step.kind == 'model' else step.stage}".strip() if operation else step.stage
    return title, attributes


def _model(step: Step, model: str) -> Attributes:
    computed = step.state == "computed"
    reason = step.notes.get("finish_reason")
    return {
        REQUEST_MODEL: step.settings.get("name") or model, RESPONSE_MODEL: model,
        PROVIDER: step.notes.get("provider") or step.settings.get("provider") or "llmops_flows",
        TEMPERATURE: step.settings.get("temperature"), MAX_TOKENS: step.settings.get("max_tokens"),
        FINISH_REASONS: [str(reason)] if reason else None, FIRST_TOKEN: step.first_token,
        INPUT_TOKENS: step.usage.get("input_tokens") if computed else None,
        OUTPUT_TOKENS: step.usage.get("output_tokens") if computed else None,
        **_own(cost_usd=step.usage.get("cost_usd") if computed else None),
    }  # fmt: skip


def _content(step: Step) -> Attributes:
    if step.kind == "model":
        messages = [_message(m["role"], m.get("content")) for m in step.inputs.get("messages") or ()]
        answer = [_message("assistant", step.output)] if step.output is not None else None
        return {INPUT_MESSAGES: messages or None, OUTPUT_MESSAGES: answer}
    if step.kind == "retriever":
        documents = [{"id": d.get("id"), "score": d.get("metadata", {}).get("score")} for d in step.output or ()]
        return {QUERY: step.inputs.get("question"), DOCUMENTS: documents or None, **_own(output=step.output)}
    return _own(inputs=step.inputs, output=step.output)


def _message(role: str, content: Any) -> Attributes:
    return {"role": role, "parts": [{"type": "text", "content": content}]}


def _own(**values: Any) -> Attributes:
    return {f"{OWN}{name}": value for name, value in values.items()}
