"""Finished records are kept as traces, and wait there for whoever delivers them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmops_flows import Record, Runner
from llmops_flows.components.tracer.local import LocalTracer
from llmops_flows.core.trace import Exporter, Trace
from llmops_flows.tracing.trace_store import TraceStore
from tests.support.stub_stages import Length, Say, question_records, rag_flow


class Nowhere(Exporter):
    """Delivers nothing."""

    host_delivers: bool = False

    def deliver(self, traces: Any) -> list[str]:
        return []

    def delivers(self, host: Any) -> bool:
        return not self.host_delivers


def run(path: Path, *questions: str, config: dict[str, Any] | None = None, **options: Any) -> list[Record]:
    """Questions through a small flow, traced into a file."""
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


def test_a_trace_tells_what_each_stage_read_and_answered(path: Path, store: TraceStore) -> None:
    run(path, "why?")
    [trace] = traces(store)
    model = next(step for step in trace.steps if step.stage == "model")
    assert model.inputs["messages"][0]["content"] == "Answer: why? (2)"
    assert model.output == trace.outputs["answer"] == "said Answer: why? (2)"
    assert model.usage == {"input_tokens": 3, "output_tokens": 2} and model.state == "computed"


def test_scores_and_the_config_are_kept(path: Path, store: TraceStore) -> None:
    run(path, "why?", config={"tags": ["a"], "tenant": "t"}, evaluators={"length": Length()})
    [trace] = traces(store)
    assert trace.scores["length"] and trace.tags == ["a"] and trace.tenant == "t"
    assert store.config(trace.config) == {"tags": ["a"], "tenant": "t"}


def test_a_failed_record_leaves_its_error(path: Path, store: TraceStore) -> None:
    run(path, "bad", stages={"model": Say(fails_on="bad")})
    [trace] = traces(store)
    assert "out of luck" in trace.error and trace.error_kind == "StageError"
    assert trace.steps[-1].state == "failed"


def test_only_configured_exporters_have_something_to_deliver(path: Path, store: TraceStore) -> None:
    run(path, "why?")
    run(path, "who?", exporters={"there": Nowhere()})
    assert [t.inputs["question"] for t in store.outbox.pending("there")] == ["who?"]
    assert store.outbox.pending_counts() == {"there": 1}


def test_what_has_arrived_is_never_pending_again(path: Path, store: TraceStore) -> None:
    run(path, "why?", "who?", exporters={"there": Nowhere()})
    first, second = store.outbox.pending("there")
    store.outbox.mark_delivered("there", [first.id])
    assert [t.id for t in store.outbox.pending("there")] == [second.id]
    store.outbox.enqueue("there")
    assert [t.id for t in store.outbox.pending("there")] == [second.id]


def test_earlier_traces_are_delivered_when_asked_for(path: Path, store: TraceStore) -> None:
    run(path, "why?")
    store.outbox.enqueue("late", traces(store)[0].run)
    assert len(store.outbox.pending("late")) == 1


def test_what_the_application_around_delivers_is_not_delivered_twice(path: Path, store: TraceStore) -> None:
    run(path, "why?", exporters={"host": Nowhere(host_delivers=True), "other": Nowhere()})
    assert store.outbox.pending_counts() == {"other": 1}


def test_old_traces_go_and_their_values_with_them(path: Path, store: TraceStore) -> None:
    run(path, "why?")
    assert store.prune() == 0
    assert store.prune(days=-1) == 1
    store.close()
    assert b"why?" not in path.read_bytes()


def test_the_chosen_options_are_part_of_a_trace(home: Path) -> None:
    from llmops_flows import load_flow

    answer = load_flow("chat", "model=echo").invoke("hello")
    found = TraceStore(home / "traces.sqlite").trace(answer["run_id"])
    assert found is not None and found.choices["model"] == "echo" and found.choices["prompt"] == "chat/v1"
    assert found.inputs["question"] == "hello" and found.config


def test_none_keeps_nothing(home: Path) -> None:
    from llmops_flows import load_flow

    load_flow("chat", "model=echo", "tracer=none").invoke("hello")
    assert not (home / "traces.sqlite").exists()


def test_exporters_without_a_local_store_are_refused() -> None:
    from llmops_flows.config.experiment import tracer_problems

    assert "local" in str(tracer_problems({"tracer": {"there": {}}}, {"there": Nowhere()})[0])
