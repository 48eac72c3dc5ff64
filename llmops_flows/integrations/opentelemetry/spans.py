"""A trace as OpenTelemetry spans."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.core.fingerprint import digest
from llmops_flows.core.trace import Trace

from . import semantic_conventions

_NANO = 1_000_000_000


class SpanBuilder:
    """Makes the spans of one trace. Ids are derived, so that a trace that is sent again is the same trace."""

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
        mark: str,
        title: str,
        kind: str,
        started: float,
        seconds: float,
        error: str,
        attributes: Mapping[str, Any],
    ) -> Any:
        status = self._api.Status(self._api.StatusCode.ERROR, error) if error else self._api.Status()
        return self._sdk.ReadableSpan(
            name=title,
            context=self._context(mark) if mark else self._root,
            parent=self._root if mark else None,
            resource=self._resource,
            attributes={name: _plain(value) for name, value in attributes.items() if value not in (None, "")},
            kind=self._api.SpanKind[kind],
            status=status,
            start_time=int(started * _NANO),
            end_time=int((started + seconds) * _NANO),
            instrumentation_scope=self._scope,
        )

    def _context(self, mark: str) -> Any:
        span = int(digest(self._trace.id, mark)[:16], 16) or 1
        sampled = self._api.TraceFlags(self._api.TraceFlags.SAMPLED)
        return self._api.SpanContext(int(self._trace.id, 16), span, is_remote=False, trace_flags=sampled)


def _plain(value: Any) -> Any:
    """What an attribute may hold; anything else as JSON text."""
    if isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(inner, str) for inner in value):
        return list(value)
    return json.dumps(value, ensure_ascii=False, default=str)
