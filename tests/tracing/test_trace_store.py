"""Finished records are stored as traces, which exporters deliver from the outbox."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmops_flows import Record, Runner, load_flow
from llmops_flows.components.tracer.local import LocalTracer
from llmops_flows.config.load import load_experiment
from llmops_flows.core.errors import ConfigError
from llmops_flows.core.trace import Exporter, Trace
from llmops_flows.tracing.trace_store import TraceStore
from tests.support.stub_stages import Length, Say, question_records, rag_flow


class NullExporter(Exporter):
    """Delivers nothing."""

    host_delivers: bool = False

    def deliver(self, traces: Any) -> list[str]:
        return []

    def delivers(self, host: Any) -> bool:
        return not self.host_delivers


def run(path: Path, *questions: str, config: dict[str, Any] | None = None, **options: Any) -> list[Record]:
    """Run questions through a small flow that is traced into a file."""
    sink = LocalTracer(path=path).sink(config, exporters=options.pop("exporters", None))
    stages = options.pop("stages", {})
    try:
        with Runner(sinks=[sink]) as runner:
            return runner.run(rag_flow(**stages), question_records(*questions), **options)
    finally:
        sink.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "traces.sqlite"


@pytest.fixture
def store(path: Path) -> TraceStore:
    return TraceStore(path)


def traces(store: TraceStore) -> list[Trace]:
    last = store.last()
    assert last is not None
    return store.traces(last.run)


def test_every_finished_record_is_one_trace(path: Path, store: TraceStore) -> None:
    run(path, "why?", "who?")
    assert [(t.record, t.inputs["question"]) for t in traces(store)] == [("q0", "why?"), ("q1", "who?")]


def test_a_trace_has_what_each_stage_read_and_wrote(path: Path, store: TraceStore) -> None:
    run(path, "why?")
    [trace] = traces(store)
    model = next(step for step in trace.steps if step.stage == "model")
    assert model.inputs["messages"][0]["content"] == "Answer: why? (2)"
    assert model.output == trace.outputs["answer"] == "said Answer: why? (2)"
    assert model.usage == {"input_tokens": 3, "output_tokens": 2} and model.state == "computed"


def test_scores_and_the_config_are_stored(path: Path, store: TraceStore) -> None:
    run(path, "why?", config={"tags": ["a"], "tenant": "t"}, evaluators={"length": Length()})
    [trace] = traces(store)
    assert trace.scores["length"] and trace.tags == ["a"] and trace.tenant == "t"
    assert store.config(trace.config) == {"tags": ["a"], "tenant": "t"}


def test_a_failed_record_has_its_error(path: Path, store: TraceStore) -> None:
    run(path, "bad", stages={"model": Say(fails_on="bad")})
    [trace] = traces(store)
    assert "out of luck" in trace.error and trace.error_kind == "StageError"
    assert trace.steps[-1].state == "failed"


def test_traces_are_queued_for_configured_exporters_only(path: Path, store: TraceStore) -> None:
    run(path, "why?")
    run(path, "who?", exporters={"there": NullExporter()})
    assert [t.inputs["question"] for t in store.outbox.pending("there")] == ["who?"]
    assert store.outbox.pending_counts() == {"there": 1}


def test_a_delivered_trace_is_never_pending_again(path: Path, store: TraceStore) -> None:
    run(path, "why?", "who?", exporters={"there": NullExporter()})
    first, second = store.outbox.pending("there")
    store.outbox.mark_delivered("there", [first.id])
    assert [t.id for t in store.outbox.pending("there")] == [second.id]
    store.outbox.enqueue("there")
    assert [t.id for t in store.outbox.pending("there")] == [second.id]


def test_earlier_traces_can_be_queued(path: Path, store: TraceStore) -> None:
    run(path, "why?")
    store.outbox.enqueue("late", traces(store)[0].run)
    assert len(store.outbox.pending("late")) == 1


def test_traces_that_the_host_application_delivers_are_not_queued(path: Path, store: TraceStore) -> None:
    run(path, "why?", exporters={"host": NullExporter(host_delivers=True), "other": NullExporter()})
    assert store.outbox.pending_counts() == {"other": 1}


def test_pruning_removes_old_traces_and_their_values(path: Path, store: TraceStore) -> None:
    run(path, "why?")
    assert store.prune() == 0
    assert store.prune(days=-1) == 1
    store.close()
    assert b"why?" not in path.read_bytes()


def test_a_trace_has_the_chosen_options(home: Path) -> None:
    answer = load_flow("chat", "model=echo").invoke("hello")
    trace = TraceStore(home / "traces.sqlite").trace(answer["run_id"])
    assert trace is not None and trace.choices["model"] == "echo" and trace.choices["prompt"] == "chat/v1"
    assert trace.inputs["question"] == "hello" and trace.config


def test_tracer_none_stores_nothing(home: Path) -> None:
    load_flow("chat", "model=echo", "tracer=none").invoke("hello")
    assert not (home / "traces.sqlite").exists()


def test_exporters_without_a_local_trace_store_are_refused() -> None:
    with pytest.raises(ConfigError, match="exporters deliver from the local trace store, which is not chosen"):
        load_experiment("flow=chat", "model=echo", "tracer=[otel]", "~tracer.local")
