"""Finished traces go to LangSmith: same ids, parent and child runs, messages, tokens, cost, errors, scores."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar

from llmops_flows.core.errors import BackendError
from llmops_flows.core.trace import Exporter, Step, Trace

from .lazy import load

_TYPES = {"retriever": "retriever", "model": "llm", "prompt": "prompt", "agent": "chain"}
_TIMEOUT = (3.0, 8.0)
"""Seconds to connect, and to wait for an answer."""
_INFO = {"version": "0.15.0", "batch_ingest_config": {"use_multipart_endpoint": True, "size_limit": 1000}}
"""What /info would say; asking costs ten tries where nobody answers. A 404 falls back to /runs/batch anyway."""
Run = dict[str, Any]


class LangSmith(Exporter):
    """Sends traces to LangSmith. Runs of an application that traces to LangSmith itself are not sent twice.

    Attributes:
        project: where runs are filed; by default LANGSMITH_PROJECT, else the name of the flow.
        endpoint: by default LANGSMITH_ENDPOINT, else the hosted service.
        api_key_env: the environment variable that holds the key.
    """

    requires: ClassVar[tuple[str, ...]] = ("langsmith",)
    extra: ClassVar[str] = "langsmith"
    project: str | None = None
    endpoint: str | None = None
    api_key_env: str = "LANGSMITH_API_KEY"

    def faults(self) -> list[str]:
        if _key(self.api_key_env):
            return []
        return [f"LangSmith needs a key: set the environment variable {self.api_key_env}, or use tracer=local"]

    def delivers(self, host: Any) -> bool:
        manager = host.get("callbacks") if isinstance(host, Mapping) else None
        handlers = manager if isinstance(manager, list) else getattr(manager, "handlers", None) or ()
        return not any(cls.__name__ == "LangChainTracer" for handler in handlers for cls in type(handler).__mro__)

    def destination(self, flow: str) -> Mapping[str, Any]:
        return {"project": self.project or os.environ.get("LANGSMITH_PROJECT") or flow}

    def prepare(self) -> None:
        load("langsmith", "langsmith", "tracer=langsmith")

    def deliver(self, traces: Sequence[Trace]) -> list[str]:
        failed: list[Exception] = []
        with _quiet(), self._client(failed.append) as client:
            client.multipart_ingest(create=[run for trace in traces for run in runs(trace, self._project(trace))])
            if failed:
                raise _error(failed[0], client.api_url)
            try:
                self._score(client, traces)
            except Exception as error:
                raise _error(error, client.api_url) from error
        return [trace.id for trace in traces]

    def _project(self, trace: Trace) -> str:
        fixed = trace.destinations.get("langsmith") or self.destination(trace.flow)
        return str(fixed["project"])

    def _score(self, client: Any, traces: Sequence[Trace]) -> None:
        """Scores as feedback; their ids are made of run and metric, so that sending them again changes nothing."""
        projects: dict[str, Any] = {}
        for trace in traces:
            scores = {metric: score for metric, score in trace.scores.items() if score is not None}
            if not scores:
                continue
            name = self._project(trace)
            if name not in projects:
                projects[name] = client.create_project(name, upsert=True).id
            for metric, score in scores.items():
                client.create_feedback(
                    run_id=_id(trace), trace_id=_id(trace), session_id=projects[name], key=metric, score=score,
                    feedback_id=uuid.uuid5(_id(trace), metric), feedback_source_type="model", stop_after_attempt=1,
                    start_time=_time(trace.started),
                )  # fmt: skip

    @contextmanager
    def _client(self, failed: Any) -> Iterator[Any]:
        langsmith: Any = load("langsmith", "langsmith", "tracer=langsmith")
        client = langsmith.Client(
            api_url=self.endpoint or os.environ.get("LANGSMITH_ENDPOINT") or os.environ.get("LANGCHAIN_ENDPOINT"),
            api_key=_key(self.api_key_env),
            info=_INFO,
            auto_batch_tracing=False,
            omit_traced_runtime_info=True,  # it holds environment variables
            disable_prompt_cache=True,
            tracing_error_callback=failed,
        )
        client.session.mount("http://", _adapter())
        client.session.mount("https://", _adapter())
        try:
            yield client
        finally:
            client.session.close()


def _key(variable: str) -> str | None:
    return os.environ.get(variable) or (
        os.environ.get("LANGCHAIN_API_KEY") if variable == "LANGSMITH_API_KEY" else None
    )


def _adapter() -> Any:
    """An HTTP adapter that is short with a service that does not answer: after one failure it tries no more."""
    adapters: Any = load("requests.adapters", "langsmith")
    errors: Any = load("requests.exceptions", "langsmith")

    class Short(adapters.HTTPAdapter):  # type: ignore[misc]
        failed: Exception | None = None

        def send(self, request: Any, **options: Any) -> Any:
            if self.failed is not None:
                raise self.failed
            try:
                return super().send(request, **{**options, "timeout": _TIMEOUT})
            except (errors.ConnectionError, errors.Timeout) as error:
                self.failed = error
                raise

    return Short(max_retries=0)


@contextmanager
def _quiet() -> Iterator[None]:
    """Failures are told once, by whoever asked for the delivery; not by the library's log too."""
    log = logging.getLogger("langsmith")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)


def _error(error: BaseException, endpoint: str) -> BackendError:
    """What went wrong, in a few words; the library's own message repeats every id that it tried to send."""
    cause: BaseException | None = error
    status, reason = 0, ""
    while cause is not None:
        answer = getattr(cause, "response", None)
        if answer is not None:
            status, reason = int(answer.status_code), str(answer.reason or "")
            break
        cause = cause.__cause__ or cause.__context__
    what = f"{status} {reason}".strip() if status else _unreachable(error)
    retryable = status in (0, 408, 429) or status >= 500
    return BackendError(f"{endpoint} answers {what}", status=status, retryable=retryable)


def _unreachable(error: BaseException) -> str:
    text = str(error)
    return "too slowly" if "timed out" in text.lower() or "timeout" in text.lower() else "not at all (no connection)"


# -- the shape of runs -----------------------------------------------------------------------------------------------


def runs(trace: Trace, project: str) -> list[Run]:
    """A trace as LangSmith's runs: the record first, then a child for each stage."""
    root, start = _id(trace), _time(trace.started)
    order = f"{start:%Y%m%dT%H%M%S%fZ}{root}"
    whole = {
        "id": root, "trace_id": root, "dotted_order": order, "name": trace.flow, "run_type": "chain",
        "start_time": start, "end_time": _time(trace.started + trace.seconds), "session_name": project,
        "inputs": dict(trace.inputs), "outputs": _outputs(trace), "error": trace.error or None,
        "tags": list(trace.tags), "extra": {"metadata": _about(trace)},
    }  # fmt: skip
    return [whole, *_children(trace, whole)]


def _children(trace: Trace, whole: Run) -> Iterator[Run]:
    taken: set[float] = set()
    for number, step in enumerate(trace.steps):
        started = step.started
        while started in taken:  # the order of runs is the order of their times
            started += 1e-6
        taken.add(started)
        start, child = _time(started), uuid.uuid5(whole["id"], f"{number}.{step.stage}")
        yield {
            "id": child, "trace_id": whole["id"], "parent_run_id": whole["id"],
            "dotted_order": f"{whole['dotted_order']}.{start:%Y%m%dT%H%M%S%fZ}{child}",
            "name": step.stage, "run_type": _TYPES.get(step.kind, "chain"), "session_name": whole["session_name"],
            "start_time": start, "end_time": _time(started + step.seconds), "error": step.error or None,
            "inputs": dict(step.inputs), "outputs": _output(step), "events": _events(step),
            "tags": list(trace.tags), "extra": {"metadata": _settings(step)},
        }  # fmt: skip


def _outputs(trace: Trace) -> Run:
    found: Run = {"answer": trace.outputs.get("answer")}
    return {**found, "verdicts": dict(trace.verdicts)} if trace.verdicts else found


def _output(step: Step) -> Run | None:
    """What LangSmith shows best: messages with token counts for a model, documents for a retriever."""
    if step.error:
        return None
    if step.kind == "model":
        said: Run = {"messages": [{"role": "assistant", "content": step.output}]}
        return {**said, "usage_metadata": _usage(step)} if _usage(step) else said
    if step.kind == "retriever":
        return {"documents": [{"type": "Document", **document} for document in step.output or ()]}
    return {step.slot or "output": step.output, **({"verdict": dict(step.verdict)} if step.verdict else {})}


def _usage(step: Step) -> Run:
    """Tokens and cost; of a call that was made, not of an answer that was known."""
    if step.state != "computed" or "input_tokens" not in step.usage:
        return {}
    given, made = int(step.usage["input_tokens"]), int(step.usage.get("output_tokens", 0))
    cost = step.usage.get("cost_usd")
    tokens: Run = {"input_tokens": given, "output_tokens": made, "total_tokens": given + made}
    return tokens if cost is None else {**tokens, "total_cost": cost}


def _about(trace: Trace) -> Run:
    prompts = [step.identity[:12] for step in trace.steps if step.kind == "prompt"]
    models = [
        str(step.notes.get("model") or step.settings.get("name")) for step in trace.steps if step.kind == "model"
    ]
    about = {
        "run": trace.run, "record": trace.record, "flow": trace.flow, "flow_identity": trace.identity,
        "config": trace.config, "tenant": trace.tenant, "sample": trace.sample, "ended": trace.ended,
        "model": models[-1] if models else None,
        "prompt_version": trace.choices.get("prompt") or (prompts[-1] if prompts else None),
    }  # fmt: skip
    return {name: value for name, value in about.items() if value not in (None, "")}


def _settings(step: Step) -> Run:
    about: Run = {"state": step.state, "component": step.component, **step.settings, **step.notes}
    if step.kind == "model":
        about["ls_model_type"] = "chat"
        about["ls_model_name"] = str(step.notes.get("model") or step.settings.get("name") or step.component)
        about["ls_provider"] = str(step.notes.get("provider") or step.settings.get("provider") or "llmops_flows")
        about |= {
            f"ls_{name}": step.settings[name] for name in ("temperature", "max_tokens") if name in step.settings
        }
    return about


def _events(step: Step) -> list[Run]:
    if step.first_token is None:
        return []
    return [{"name": "new_token", "time": _time(step.started + step.first_token).isoformat()}]


def _id(trace: Trace) -> uuid.UUID:
    return uuid.UUID(trace.id)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
