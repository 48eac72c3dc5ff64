"""Finished traces go to any OpenTelemetry collector, over OTLP/HTTP, with the GenAI semantic conventions."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.core.errors import BackendError
from llmops_flows.core.trace import Exporter, Step, Trace
from llmops_flows.integrations.opentelemetry import semantic_conventions
from llmops_flows.integrations.opentelemetry.spans import SpanBuilder

_DEFAULT = "http://localhost:4318"
_SECONDS = 8.0


class OtelExporter(Exporter):
    """Sends traces to an OpenTelemetry collector. No global tracer provider is set: nothing of the app changes.

    Attributes:
        endpoint: where the collector listens; by default OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, else
            OTEL_EXPORTER_OTLP_ENDPOINT, else this machine's port 4318. Headers: OTEL_EXPORTER_OTLP_HEADERS.
        service: the name of the service; by default OTEL_SERVICE_NAME, else the name of the flow.
        content: also send what the stages read and wrote, not only how long it took and what it cost.
    """

    requires: ClassVar[tuple[str, ...]] = ("opentelemetry",)
    extra: ClassVar[str] = "otel"
    endpoint: str | None = None
    service: str | None = None
    content: bool = True

    def destination(self, flow: str) -> Mapping[str, Any]:
        return {"service": self.service or os.environ.get("OTEL_SERVICE_NAME") or flow}

    def prepare(self) -> None:
        load("opentelemetry.exporter.otlp.proto.http.trace_exporter", "otel", "tracer=otel")

    def deliver(self, traces: Sequence[Trace]) -> list[str]:
        self.prepare()
        http: Any = load("opentelemetry.exporter.otlp.proto.http.trace_exporter", "otel", "tracer=otel")
        results: Any = load("opentelemetry.sdk.trace.export", "otel", "tracer=otel")
        url = self._url()
        with _heard() as said:
            exporter = http.OTLPSpanExporter(endpoint=url, timeout=_SECONDS)
            try:
                done = exporter.export([span for trace in traces for span in self._spans(trace)])
            finally:
                exporter.shutdown()
        if done is not results.SpanExportResult.SUCCESS:
            raise BackendError(f"{url} took no spans: {said[-1] if said else 'no reason given'}", retryable=True)
        return [trace.id for trace in traces]

    def _url(self) -> str:
        whole = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        base = self.endpoint or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or _DEFAULT
        if whole and not self.endpoint:
            return whole
        return base if base.rstrip("/").endswith("/v1/traces") else base.rstrip("/") + "/v1/traces"

    def _spans(self, trace: Trace) -> list[Any]:
        """The record as a root span, each stage as its child."""
        build = SpanBuilder(trace, str((trace.destinations.get("otel") or self.destination(trace.flow))["service"]))
        whole = build.span("", trace.flow, "INTERNAL", trace.started, trace.seconds, trace.error,
                           semantic_conventions.of_trace(trace, self.content))  # fmt: skip
        return [whole, *(self._child(build, number, step) for number, step in enumerate(trace.steps))]

    def _child(self, build: SpanBuilder, number: int, step: Step) -> Any:
        kind = "CLIENT" if step.kind == "model" else "INTERNAL"
        title, attributes = semantic_conventions.of_step(step, self.content)
        return build.span(f"{number}.{step.stage}", title, kind, step.started, step.seconds, step.error, attributes)


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What the exporter logs about failures, kept for the one message that the user sees."""
    said: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    log, ear = logging.getLogger("opentelemetry"), Ear()
    before = log.propagate
    log.addHandler(ear)
    log.propagate = False
    try:
        yield said
    finally:
        log.removeHandler(ear)
        log.propagate = before
