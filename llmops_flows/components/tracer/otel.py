"""`tracer=otel`: finished traces are sent to an OpenTelemetry collector, with the GenAI semantic conventions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from llmops_flows.core.trace import Exporter, Trace
from llmops_flows.integrations.opentelemetry.otlp import EXTRA, import_exporter, send_spans, traces_url
from llmops_flows.integrations.opentelemetry.spans import trace_spans


class OtelExporter(Exporter):
    """Sends traces over OTLP/HTTP. Sets no global tracer provider, so the tracing of the application is unaffected.

    Attributes:
        endpoint: URL of the collector; by default OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, else
            OTEL_EXPORTER_OTLP_ENDPOINT, else port 4318 of this machine. Headers: OTEL_EXPORTER_OTLP_HEADERS.
        service: name of the service; by default OTEL_SERVICE_NAME, else the name of the flow.
        content: also send what the stages read and wrote, not only times, tokens and costs.
    """

    requires: ClassVar[tuple[str, ...]] = ("opentelemetry",)
    extra: ClassVar[str] = EXTRA
    endpoint: str | None = None
    service: str | None = None
    content: bool = True

    def destination(self, flow: str) -> Mapping[str, Any]:
        return {"service": self.service or os.environ.get("OTEL_SERVICE_NAME") or flow}

    def prepare(self) -> None:
        import_exporter()

    def deliver(self, traces: Sequence[Trace]) -> list[str]:
        self.prepare()
        spans = [span for trace in traces for span in trace_spans(trace, self._service(trace), self.content)]
        send_spans(spans, traces_url(self.endpoint))
        return [trace.id for trace in traces]

    def _service(self, trace: Trace) -> str:
        destination = trace.destinations.get("otel") or self.destination(trace.flow)
        return str(destination["service"])
