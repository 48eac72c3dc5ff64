"""Finished traces go to LangSmith: same ids, parent and child runs, messages, tokens, cost, errors, scores."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.core.errors import BackendError
from llmops_flows.core.trace import Exporter, Trace
from llmops_flows.integrations.langsmith.runs import langsmith_runs, run_id, utc_time

_TIMEOUT = (3.0, 8.0)
"""Seconds to connect, and to wait for an answer."""
_INFO = {"version": "0.15.0", "batch_ingest_config": {"use_multipart_endpoint": True, "size_limit": 1000}}
"""What /info would say; asking costs ten tries where nobody answers. A 404 falls back to /runs/batch anyway."""


class LangSmithExporter(Exporter):
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

    def problems(self) -> list[str]:
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
            client.multipart_ingest(
                create=[run for trace in traces for run in langsmith_runs(trace, self._project(trace))]
            )
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
                    run_id=run_id(trace), trace_id=run_id(trace), session_id=projects[name], key=metric, score=score,
                    feedback_id=uuid.uuid5(run_id(trace), metric), feedback_source_type="model", stop_after_attempt=1,
                    start_time=utc_time(trace.started),
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
