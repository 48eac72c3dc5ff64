"""A trace as OpenTelemetry spans: a root span for the record, a child for each stage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.core.fingerprint import digest
from llmops_flows.core.trace import Step, Trace

from . import semantic_conventions

_NANOSECONDS = 1_000_000_000


def trace_spans(trace: Trace, service: str, content: bool) -> list[Any]:
    """The spans of a trace. `content`: include what the stages read and wrote."""
    builder = SpanBuilder(trace, service)
    attributes = semantic_conventions.of_trace(trace, content)
    root = builder.span("", trace.flow, "INTERNAL", trace.started, trace.seconds, trace.error, attributes)
    return [root, *(_stage_span(builder, number, step, content) for number, step in enumerate(trace.steps))]


def _stage_span(builder: SpanBuilder, number: int, step: Step, content: bool) -> Any:
    kind = "CLIENT" if step.kind == "model" else "INTERNAL"
    title, attributes = semantic_conventions.of_step(step, content)
    return builder.span(f"{number}.{step.stage}", title, kind, step.started, step.seconds, step.error, attributes)


class SpanBuilder:
    """Makes the spans of one trace. Ids are derived from the trace, so sending a trace twice has no effect."""

    def __init__(self, trace: Trace, service: str) -> None:
        self._api: Any = load("opentelemetry.trace", "otel", "tracer=otel")
        self._sdk: Any = load("opentelemetry.sdk.trace", "otel", "tracer=otel")
        resources: Any = load("opentelemetry.sdk.resources", "otel", "tracer=otel")
        scopes: Any = load("opentelemetry.sdk.util.instrumentation", "otel", "tracer=otel")
        self._resource = resources.Resource({semantic_conventions.SERVICE: service})
        self._scope = scopes.InstrumentationScope("llmops_flows")
        self._trace = trace
        self._root = self._context("")

    def span(
        self,
        label: str,
        title: str,
        kind: str,
        started: float,
        seconds: float,
        error: str,
        attributes: Mapping[str, Any],
    ) -> Any:
        """A finished span. `label` identifies the span in its trace; "" is the root."""
        status = self._api.Status(self._api.StatusCode.ERROR, error) if error else self._api.Status()
        return self._sdk.ReadableSpan(
            name=title,
            context=self._context(label) if label else self._root,
            parent=self._root if label else None,
            resource=self._resource,
            attributes={name: _attribute(value) for name, value in attributes.items() if value not in (None, "")},
            kind=self._api.SpanKind[kind],
            status=status,
            start_time=int(started * _NANOSECONDS),
            end_time=int((started + seconds) * _NANOSECONDS),
            instrumentation_scope=self._scope,
        )

    def _context(self, label: str) -> Any:
        span_id = int(digest(self._trace.id, label)[:16], 16) or 1
        sampled = self._api.TraceFlags(self._api.TraceFlags.SAMPLED)
        return self._api.SpanContext(int(self._trace.id, 16), span_id, is_remote=False, trace_flags=sampled)


def _attribute(value: Any) -> Any:
    """The value as a span attribute, which is JSON text for nested values."""
    if isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return list(value)
    return json.dumps(value, ensure_ascii=False, default=str)
