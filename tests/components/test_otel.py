"""Traces arrive at an OpenTelemetry collector, in the words of the GenAI conventions."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from llmops_flows import Runner
from llmops_flows.components.model.echo import Echo
from llmops_flows.components.tracer.local import LocalTracer
from llmops_flows.components.tracer.otel import OtelExporter
from llmops_flows.tracing.delivery import Delivery, deliver
from llmops_flows.tracing.trace_store import TraceStore
from tests.support.stub_stages import Length, Say, question_records, rag_flow


class Collector:
    """An OTLP/HTTP receiver: the spans that arrived, parsed from protobuf. `status` is what it answers."""

    def __init__(self) -> None:
        self.status = 200
        self.spans: list[Any] = []
        self.services: list[str] = []
        self.url = ""

    def take(self, body: bytes) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.services += [a.value.string_value for a in group.resource.attributes if a.key == "service.name"]
            self.spans += [span for scope in group.scope_spans for span in scope.spans]

    def named(self, name: str) -> Any:
        return next(span for span in self.spans if span.name == name)


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()

    class Answers(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Quiet."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if collector.status == 200 and self.path == "/v1/traces":
                collector.take(body)
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Answers)
    collector.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        yield found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    found = TraceStore(tmp_path / "traces.sqlite")
    yield found
    found.close()


def run(store: TraceStore, *questions: str, **stages: Any) -> None:
    sink = LocalTracer(path=store.path).sink({"tags": ["trial"]}, exporters={"otel": OtelExporter(service="s")})
    with Runner(sinks=[sink]) as runner:
        runner.run(rag_flow(**stages), question_records(*questions), evaluators={"length": Length()})
    sink.close()


def ship(store: TraceStore, **options: Any) -> Delivery:
    [done] = deliver(store.outbox, {"otel": OtelExporter(**options)}, until=time.monotonic() + 20)
    return done


def attributes(span: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, str(a.value.WhichOneof("value"))) for a in span.attributes}


def test_a_trace_is_a_root_span_with_a_child_for_each_stage(store: TraceStore, collector: Collector) -> None:
    run(store, "why?")
    [trace] = store.outbox.pending("otel")
    assert ship(store) == Delivery("otel", 1, 0)
    root = collector.named("flow")
    assert root.trace_id.hex() == trace.id and not root.parent_span_id
    children = [span for span in collector.spans if span is not root]
    assert len(children) == 5 and all(span.parent_span_id == root.span_id for span in children)
    assert set(collector.services) == {"s"}
    assert attributes(root)["llmops_flows.score.length"] > 0


def test_a_model_call_speaks_the_genai_conventions(store: TraceStore, collector: Collector) -> None:
    run(store, "why?", model=Echo())
    ship(store)
    span = collector.named("chat echo")
    found = attributes(span)
    assert found["gen_ai.operation.name"] == "chat" and found["gen_ai.request.model"] == "echo"
    assert found["gen_ai.usage.input_tokens"] > 0
    assert "Answer: why?" in found["gen_ai.input.messages"]
    assert span.end_time_unix_nano >= span.start_time_unix_nano > 0


def test_an_error_is_the_status_of_its_span(store: TraceStore, collector: Collector) -> None:
    run(store, "bad", model=Say(fails_on="bad"))
    ship(store)
    assert all("out of luck" in collector.named(name).status.message for name in ("flow", "model"))


def test_content_stays_here_when_it_must(store: TraceStore, collector: Collector) -> None:
    run(store, "a private question", model=Echo())
    ship(store, content=False)
    assert collector.spans and not any("private" in str(span) for span in collector.spans)


def test_sending_again_sends_the_same_spans(store: TraceStore, collector: Collector) -> None:
    run(store, "why?")
    OtelExporter().deliver(store.outbox.pending("otel"))
    ship(store)
    assert len({span.span_id for span in collector.spans}) == len(collector.spans) / 2


@pytest.mark.parametrize("status", [400, 401, 404])
def test_what_is_refused_waits(store: TraceStore, collector: Collector, status: int) -> None:
    run(store, "why?")
    collector.status = status
    assert ship(store).pending == 1
    collector.status = 200
    assert ship(store) == Delivery("otel", 1, 0)


def test_nobody_listening_is_told(store: TraceStore, collector: Collector) -> None:
    run(store, "why?")
    assert "accepted no spans" in ship(store, endpoint="http://127.0.0.1:9").error


def test_no_global_provider_is_set(store: TraceStore, collector: Collector) -> None:
    from opentelemetry import trace

    before = trace._TRACER_PROVIDER
    run(store, "why?")
    ship(store)
    assert trace._TRACER_PROVIDER is before
