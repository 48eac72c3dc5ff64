"""A trace in the shape of LangSmith runs."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from llmops_flows.core.trace import Step, Trace

_TYPES = {"retriever": "retriever", "model": "llm", "prompt": "prompt", "agent": "chain"}


LangSmithRun = dict[str, Any]


def langsmith_runs(trace: Trace, project: str) -> list[LangSmithRun]:
    """A trace as LangSmith's runs: the record first, then a child for each stage."""
    root, start = run_id(trace), utc_time(trace.started)
    order = f"{start:%Y%m%dT%H%M%S%fZ}{root}"
    whole = {
        "id": root, "trace_id": root, "dotted_order": order, "name": trace.flow, "run_type": "chain",
        "start_time": start, "end_time": utc_time(trace.started + trace.seconds), "session_name": project,
        "inputs": dict(trace.inputs), "outputs": _outputs(trace), "error": trace.error or None,
        "tags": list(trace.tags), "extra": {"metadata": _about(trace)},
    }  # fmt: skip
    return [whole, *_children(trace, whole)]


def _children(trace: Trace, whole: LangSmithRun) -> Iterator[LangSmithRun]:
    taken: set[float] = set()
    for number, step in enumerate(trace.steps):
        started = step.started
        while started in taken:  # the order of runs is the order of their times
            started += 1e-6
        taken.add(started)
        start, child = utc_time(started), uuid.uuid5(whole["id"], f"{number}.{step.stage}")
        yield {
            "id": child, "trace_id": whole["id"], "parent_run_id": whole["id"],
            "dotted_order": f"{whole['dotted_order']}.{start:%Y%m%dT%H%M%S%fZ}{child}",
            "name": step.stage, "run_type": _TYPES.get(step.kind, "chain"), "session_name": whole["session_name"],
            "start_time": start, "end_time": utc_time(started + step.seconds), "error": step.error or None,
            "inputs": dict(step.inputs), "outputs": _output(step), "events": _events(step),
            "tags": list(trace.tags), "extra": {"metadata": _settings(step)},
        }  # fmt: skip


def _outputs(trace: Trace) -> LangSmithRun:
    found: LangSmithRun = {"answer": trace.outputs.get("answer")}
    return {**found, "verdicts": dict(trace.verdicts)} if trace.verdicts else found


def _output(step: Step) -> LangSmithRun | None:
    """What LangSmith shows best: messages with token counts for a model, documents for a retriever."""
    if step.error:
        return None
    if step.kind == "model":
        said: LangSmithRun = {"messages": [{"role": "assistant", "content": step.output}]}
        return {**said, "usage_metadata": _usage(step)} if _usage(step) else said
    if step.kind == "retriever":
        return {"documents": [{"type": "Document", **document} for document in step.output or ()]}
    return {step.slot or "output": step.output, **({"verdict": dict(step.verdict)} if step.verdict else {})}


def _usage(step: Step) -> LangSmithRun:
    """Tokens and cost; of a call that was made, not of an answer that was known."""
    if step.state != "computed" or "input_tokens" not in step.usage:
        return {}
    given, made = int(step.usage["input_tokens"]), int(step.usage.get("output_tokens", 0))
    cost = step.usage.get("cost_usd")
    tokens: LangSmithRun = {"input_tokens": given, "output_tokens": made, "total_tokens": given + made}
    return tokens if cost is None else {**tokens, "total_cost": cost}


def _about(trace: Trace) -> LangSmithRun:
    prompts = [step.identity[:12] for step in trace.steps if step.kind == "prompt"]
    models = [str(step.notes.get("model") or step.settings.get("name")) for step in trace.steps if step.kind == "model"]
    about = {
        "run": trace.run, "record": trace.record, "flow": trace.flow, "flow_identity": trace.identity,
        "config": trace.config, "tenant": trace.tenant, "sample": trace.sample, "ended": trace.ended,
        "model": models[-1] if models else None,
        "prompt_version": trace.choices.get("prompt") or (prompts[-1] if prompts else None),
    }  # fmt: skip
    return {name: value for name, value in about.items() if value not in (None, "")}


def _settings(step: Step) -> LangSmithRun:
    about: LangSmithRun = {"state": step.state, "component": step.component, **step.settings, **step.notes}
    if step.kind == "model":
        about["ls_model_type"] = "chat"
        about["ls_model_name"] = str(step.notes.get("model") or step.settings.get("name") or step.component)
        about["ls_provider"] = str(step.notes.get("provider") or step.settings.get("provider") or "llmops_flows")
        about |= {f"ls_{name}": step.settings[name] for name in ("temperature", "max_tokens") if name in step.settings}
    return about


def _events(step: Step) -> list[LangSmithRun]:
    if step.first_token is None:
        return []
    return [{"name": "new_token", "time": utc_time(step.started + step.first_token).isoformat()}]


def run_id(trace: Trace) -> uuid.UUID:
    return uuid.UUID(trace.id)


def utc_time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
