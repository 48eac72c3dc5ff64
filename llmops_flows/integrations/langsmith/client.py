"""Sends traces to the LangSmith API: runs first, then their scores as feedback."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.core.errors import BackendError
from llmops_flows.core.trace import Trace

from .runs import langsmith_runs, run_id, utc_time

EXTRA = "langsmith"
_TIMEOUT = (3.0, 8.0)
"""Seconds to connect, and to wait for a response."""
_INFO = {"version": "0.15.0", "batch_ingest_config": {"use_multipart_endpoint": True, "size_limit": 1000}}
"""Replaces the response of /info, which the client requests up to ten times. On 404, the client uses /runs/batch."""


def send_traces(traces: Sequence[tuple[Trace, str]], endpoint: str | None, api_key: str | None) -> None:
    """Send traces, each with the name of its project.

    Ids are derived from the trace, so sending a trace twice has no effect.

    Raises:
        BackendError: the service refused the runs or their scores, or cannot be reached.
    """
    runs = [run for trace, project in traces for run in langsmith_runs(trace, project)]
    errors: list[Exception] = []
    with _silent_log(), _client(endpoint, api_key, errors.append) as client:
        client.multipart_ingest(create=runs)
        if errors:
            raise _backend_error(errors[0], client.api_url)
        try:
            _send_scores(client, traces)
        except Exception as error:
            raise _backend_error(error, client.api_url) from error


def _send_scores(client: Any, traces: Sequence[tuple[Trace, str]]) -> None:
    project_ids: dict[str, Any] = {}
    for trace, project in traces:
        scores = {metric: score for metric, score in trace.scores.items() if score is not None}
        if scores and project not in project_ids:
            project_ids[project] = client.create_project(project, upsert=True).id
        for metric, score in scores.items():
            client.create_feedback(
                run_id=run_id(trace), trace_id=run_id(trace), session_id=project_ids[project], key=metric, score=score,
                feedback_id=uuid.uuid5(run_id(trace), metric), feedback_source_type="model", stop_after_attempt=1,
                start_time=utc_time(trace.started),
            )  # fmt: skip


@contextmanager
def _client(endpoint: str | None, api_key: str | None, on_error: Callable[[Exception], None]) -> Iterator[Any]:
    langsmith: Any = load("langsmith", EXTRA, "tracer=langsmith")
    client = langsmith.Client(
        api_url=endpoint or os.environ.get("LANGSMITH_ENDPOINT") or os.environ.get("LANGCHAIN_ENDPOINT"),
        api_key=api_key,
        info=_INFO,
        auto_batch_tracing=False,
        omit_traced_runtime_info=True,  # it contains environment variables
        disable_prompt_cache=True,
        tracing_error_callback=on_error,
    )
    client.session.mount("http://", _fail_fast_adapter())
    client.session.mount("https://", _fail_fast_adapter())
    try:
        yield client
    finally:
        client.session.close()


def _fail_fast_adapter() -> Any:
    """An HTTP adapter that does not connect again after its first connection error, but raises that error."""
    adapters: Any = load("requests.adapters", EXTRA)
    errors: Any = load("requests.exceptions", EXTRA)

    class FailFastAdapter(adapters.HTTPAdapter):  # type: ignore[misc]
        first_error: Exception | None = None

        def send(self, request: Any, **options: Any) -> Any:
            if self.first_error is not None:
                raise self.first_error
            try:
                return super().send(request, **{**options, "timeout": _TIMEOUT})
            except (errors.ConnectionError, errors.Timeout) as error:
                self.first_error = error
                raise

    return FailFastAdapter(max_retries=0)


@contextmanager
def _silent_log() -> Iterator[None]:
    """Silence the library's log: failures are raised as one BackendError."""
    log = logging.getLogger("langsmith")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)


def _backend_error(error: BaseException, endpoint: str) -> BackendError:
    """An error with the status or the connection problem; the library's own message lists every id of the request."""
    cause: BaseException | None = error
    status, reason = 0, ""
    while cause is not None:
        response = getattr(cause, "response", None)
        if response is not None:
            status, reason = int(response.status_code), str(response.reason or "")
            break
        cause = cause.__cause__ or cause.__context__
    cause_text = f"{status} {reason}".strip() if status else _connection_problem(error)
    retryable = status in (0, 408, 429) or status >= 500
    return BackendError(f"request to {endpoint} failed: {cause_text}", status=status, retryable=retryable)


def _connection_problem(error: BaseException) -> str:
    text = str(error).lower()
    return "timeout" if "timed out" in text or "timeout" in text else "no connection"
