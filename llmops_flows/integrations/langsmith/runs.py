"""A trace as LangSmith runs: a run for the record, a child run for each stage."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from llmops_flows.core.trace import Step, Trace

_RUN_TYPES = {"retriever": "retriever", "model": "llm", "prompt": "prompt", "agent": "chain"}


LangSmithRun = dict[str, Any]


def langsmith_runs(trace: Trace, project: str) -> list[LangSmithRun]:
    """The runs of a trace, the record first."""
    root, start = run_id(trace), utc_time(trace.started)
    order = f"{start:%Y%m%dT%H%M%S%fZ}{root}"
    root_run = {
        "id": root, "trace_id": root, "dotted_order": order, "name": trace.flow, "run_type": "chain",
        "start_time": start, "end_time": utc_time(trace.started + trace.seconds), "session_name": project,
        "inputs": dict(trace.inputs), "outputs": _outputs(trace), "error": trace.error or None,
        "tags": list(trace.tags), "extra": {"metadata": _trace_metadata(trace)},
    }  # fmt: skip
    return [root_run, *_children(trace, root_run)]


def _children(trace: Trace, root_run: LangSmithRun) -> Iterator[LangSmithRun]:
    starts: set[float] = set()
    for number, step in enumerate(trace.steps):
        started = step.started
        while started in starts:  # LangSmith orders runs by time
            started += 1e-6
        starts.add(started)
        start, child = utc_time(started), uuid.uuid5(root_run["id"], f"{number}.{step.stage}")
        yield {
            "id": child, "trace_id": root_run["id"], "parent_run_id": root_run["id"],
            "dotted_order": f"{root_run['dotted_order']}.{start:%Y%m%dT%H%M%S%fZ}{child}",
            "name": step.stage, "run_type": _RUN_TYPES.get(step.kind, "chain"),
            "session_name": root_run["session_name"],
            "start_time": start, "end_time": utc_time(started + step.seconds), "error": step.error or None,
            "inputs": dict(step.inputs), "outputs": _output(step), "events": _events(step),
            "tags": list(trace.tags), "extra": {"metadata": _stage_metadata(step)},
        }  # fmt: skip


def _outputs(trace: Trace) -> LangSmithRun:
    outputs: LangSmithRun = {"answer": trace.outputs.get("answer")}
    return {**outputs, "verdicts": dict(trace.verdicts)} if trace.verdicts else outputs


def _output(step: Step) -> LangSmithRun | None:
    """The output in the form that LangSmith displays: messages with tokens for a model, documents for a retriever."""
    if step.error:
        return None
    if step.kind == "model":
        output: LangSmithRun = {"messages": [{"role": "assistant", "content": step.output}]}
        usage = _usage(step)
        return {**output, "usage_metadata": usage} if usage else output
    if step.kind == "retriever":
        return {"documents": [{"type": "Document", **document} for document in step.output or ()]}
    return {step.slot or "output": step.output, **({"verdict": dict(step.verdict)} if step.verdict else {})}


def _usage(step: Step) -> LangSmithRun:
    """Tokens and cost of a computed answer; nothing for a cached one."""
    if step.state != "computed" or "input_tokens" not in step.usage:
        return {}
    inputs, outputs = int(step.usage["input_tokens"]), int(step.usage.get("output_tokens", 0))
    cost = step.usage.get("cost_usd")
    tokens: LangSmithRun = {"input_tokens": inputs, "output_tokens": outputs, "total_tokens": inputs + outputs}
    return tokens if cost is None else {**tokens, "total_cost": cost}


def _trace_metadata(trace: Trace) -> LangSmithRun:
    prompts = [step.identity[:12] for step in trace.steps if step.kind == "prompt"]
    models = [str(step.notes.get("model") or step.settings.get("name")) for step in trace.steps if step.kind == "model"]
    metadata = {
        "run": trace.run, "record": trace.record, "flow": trace.flow, "flow_identity": trace.identity,
        "config": trace.config, "tenant": trace.tenant, "sample": trace.sample, "ended": trace.ended,
        "model": models[-1] if models else None,
        "prompt_version": trace.choices.get("prompt") or (prompts[-1] if prompts else None),
    }  # fmt: skip
    return {name: value for name, value in metadata.items() if value not in (None, "")}


def _stage_metadata(step: Step) -> LangSmithRun:
    metadata: LangSmithRun = {"state": step.state, "component": step.component, **step.settings, **step.notes}
    if step.kind == "model":
        metadata["ls_model_type"] = "chat"
        metadata["ls_model_name"] = str(step.notes.get("model") or step.settings.get("name") or step.component)
        metadata["ls_provider"] = str(step.notes.get("provider") or step.settings.get("provider") or "llmops_flows")
        metadata |= {
            f"ls_{name}": step.settings[name] for name in ("temperature", "max_tokens") if name in step.settings
        }
    return metadata


def _events(step: Step) -> list[LangSmithRun]:
    if step.first_token is None:
        return []
    return [{"name": "new_token", "time": utc_time(step.started + step.first_token).isoformat()}]


def run_id(trace: Trace) -> uuid.UUID:
    return uuid.UUID(trace.id)


def utc_time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
