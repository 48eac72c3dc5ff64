"""Sends spans to an OpenTelemetry collector over OTLP/HTTP."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.core.errors import BackendError

EXTRA = "otel"
_DEFAULT_ENDPOINT = "http://localhost:4318"
_TIMEOUT = 8.0


def import_exporter() -> Any:
    """The module of OpenTelemetry's OTLP/HTTP exporter. Raises MissingExtra."""
    return load("opentelemetry.exporter.otlp.proto.http.trace_exporter", EXTRA, "tracer=otel")


def traces_url(endpoint: str | None) -> str:
    """The URL that receives spans: `endpoint` first, then OpenTelemetry's environment variables."""
    url = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if url and not endpoint:
        return url
    base = (endpoint or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or _DEFAULT_ENDPOINT).rstrip("/")
    return base if base.endswith("/v1/traces") else f"{base}/v1/traces"


def send_spans(spans: Sequence[Any], url: str) -> None:
    """Send spans in one request.

    Raises:
        BackendError: the collector refused them or cannot be reached.
    """
    results: Any = load("opentelemetry.sdk.trace.export", EXTRA, "tracer=otel")
    with _captured_log() as messages:
        exporter = import_exporter().OTLPSpanExporter(endpoint=url, timeout=_TIMEOUT)
        try:
            result = exporter.export(spans)
        finally:
            exporter.shutdown()
    if result is not results.SpanExportResult.SUCCESS:
        reason = messages[-1] if messages else "no reason given"
        raise BackendError(f"{url} accepted no spans: {reason}", retryable=True)


@contextmanager
def _captured_log() -> Iterator[list[str]]:
    """The exporter's log messages, which contain the reason of a failure. They are not propagated."""
    messages: list[str] = []

    class LogCapture(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    log, handler = logging.getLogger("opentelemetry"), LogCapture()
    propagate = log.propagate
    log.addHandler(handler)
    log.propagate = False
    try:
        yield messages
    finally:
        log.removeHandler(handler)
        log.propagate = propagate
