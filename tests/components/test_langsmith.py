"""Traces arrive in LangSmith as its users expect them, once, whatever happens on the way."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmops_flows import Record, Runner
from llmops_flows.components.model.echo import Echo
from llmops_flows.components.tracer.langsmith import LangSmithExporter
from llmops_flows.components.tracer.local import LocalTracer
from llmops_flows.core.errors import ConfigError
from llmops_flows.core.trace import Trace
from llmops_flows.tracing.delivery import Delivery, deliver
from llmops_flows.tracing.trace_store import TraceStore
from tests.support.langsmith_server import Behavior, FakeLangSmith, fake_langsmith
from tests.support.stub_stages import Length, Say, question_records, rag_flow


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLangSmith]:
    with fake_langsmith() as found:
        monkeypatch.setenv("LANGSMITH_ENDPOINT", found.url)
        monkeypatch.setenv("LANGSMITH_API_KEY", "lsv2-test-key")
        yield found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    found = TraceStore(tmp_path / "traces.sqlite")
    yield found
    found.close()


def run(store: TraceStore, *questions: str, **stages: Any) -> list[Record]:
    """Questions through a small flow, traced for LangSmith."""
    sink = LocalTracer(path=store.path).sink(
        {"tags": ["trial"]}, exporters={"langsmith": LangSmithExporter(project="p")}
    )
    with Runner(sinks=[sink]) as runner:
        records = runner.run(rag_flow(**stages), question_records(*questions), evaluators={"length": Length()})
    sink.close()
    return records


def ship(store: TraceStore, seconds: float = 20.0) -> Delivery:
    [done] = deliver(store.outbox, {"langsmith": LangSmithExporter(project="p")}, until=time.monotonic() + seconds)
    return done


def traces(store: TraceStore) -> list[Trace]:
    last = store.last()
    assert last is not None
    return store.traces(last.run)


def test_a_trace_is_a_run_with_a_child_for_each_stage(store: TraceStore, receiver: FakeLangSmith) -> None:
    run(store, "why?")
    assert ship(store) == Delivery("langsmith", 1, 0)
    [root] = receiver.roots()
    assert uuid.UUID(root["id"]).hex == traces(store)[0].id
    assert root["inputs"] == {"question": "why?"} and root["outputs"]["answer"].startswith("said Answer")
    children = receiver.children(root)
    assert list(children) == ["retrieve", "prompt", "model", "guard", "length"]
    assert all(child["dotted_order"].startswith(root["dotted_order"] + ".") for child in children.values())


def test_each_stage_is_what_langsmith_calls_it(store: TraceStore, receiver: FakeLangSmith) -> None:
    run(store, "why?", model=Echo())
    ship(store)
    model = receiver.children(receiver.roots()[0])["model"]
    assert model["run_type"] == "llm" and model["inputs"]["messages"][0]["role"] == "user"
    assert model["outputs"]["messages"] == [{"role": "assistant", "content": "Answer: why? (2)"}]
    assert model["extra"]["metadata"]["ls_model_type"] == "chat"


def test_tags_project_config_and_errors_arrive(store: TraceStore, receiver: FakeLangSmith) -> None:
    run(store, "bad", model=Say(fails_on="bad"))
    ship(store)
    [root] = receiver.roots()
    assert root["tags"] == ["trial"] and root["session_name"] == "p"
    assert root["extra"]["metadata"]["config"] == traces(store)[0].config
    assert "out of luck" in root["error"]
    model = receiver.children(root)["model"]
    assert "out of luck" in model["error"] and model["inputs"]["messages"]


def test_scores_arrive_as_feedback_of_the_run(store: TraceStore, receiver: FakeLangSmith) -> None:
    run(store, "why?")
    ship(store)
    [feedback] = receiver.feedback.values()
    assert feedback["key"] == "length" and 0 < feedback["score"] < 1
    assert feedback["run_id"] == receiver.roots()[0]["id"] and feedback["session_id"] == receiver.projects["p"]


def test_sending_again_changes_nothing(store: TraceStore, receiver: FakeLangSmith) -> None:
    run(store, "why?")
    LangSmithExporter(project="p").deliver(traces(store))
    before = (set(receiver.runs), set(receiver.feedback))
    ship(store)
    assert (set(receiver.runs), set(receiver.feedback)) == before


def test_servers_without_the_multipart_endpoint_get_batches(store: TraceStore, receiver: FakeLangSmith) -> None:
    receiver.multipart = False
    run(store, "why?")
    assert ship(store).delivered == 1
    assert len(receiver.runs) == 6 and len(receiver.feedback) == 1


@pytest.mark.parametrize("behavior", ["429", "500", "401"])
def test_what_is_refused_waits_and_goes_out_later_once(
    store: TraceStore, receiver: FakeLangSmith, behavior: Behavior
) -> None:
    run(store, *(f"question {n}" for n in range(45)))
    receiver.behavior = behavior
    done = ship(store)
    assert done.pending == 45 and behavior in done.error
    assert len(receiver.bodies) <= 3
    receiver.behavior = "well"
    assert ship(store) == Delivery("langsmith", 45, 0)
    assert len(receiver.roots()) == 45 and set(receiver.posts.values()) == {1}


def test_nobody_listening_is_told_in_a_second(store: TraceStore, receiver: FakeLangSmith, monkeypatch: Any) -> None:
    monkeypatch.setenv("LANGSMITH_ENDPOINT", "http://127.0.0.1:9")
    run(store, "why?")
    begun = time.monotonic()
    assert "no connection" in ship(store).error
    assert time.monotonic() - begun < 3.0


def test_a_bad_trace_does_not_hold_up_the_others(store: TraceStore, receiver: FakeLangSmith) -> None:
    receiver.behavior = "picky"
    run(store, "one", "poison", "three")
    done = ship(store)
    assert (done.delivered, done.pending) == (2, 1)
    assert {root["inputs"]["question"] for root in receiver.roots()} == {"one", "three"}


def test_the_environment_is_not_sent(
    store: TraceStore, receiver: FakeLangSmith, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGCHAIN_PRIVATE_THING", "canary-7781")
    run(store, "why?")
    ship(store)
    assert receiver.bodies and not any(b"canary-7781" in body for body in receiver.bodies)


def test_two_processes_deliver_each_trace_once(store: TraceStore, receiver: FakeLangSmith) -> None:
    import threading

    run(store, *(f"question {n}" for n in range(30)))
    others = [threading.Thread(target=ship, args=(TraceStore(store.path),)) for _ in range(3)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert len(receiver.roots()) == 30 and set(receiver.posts.values()) == {1}


def test_an_application_that_traces_itself_is_not_doubled() -> None:
    class LangChainTracer:
        pass

    class Callbacks:
        handlers = [LangChainTracer()]

    assert not LangSmithExporter().delivers({"callbacks": Callbacks()})
    assert LangSmithExporter().delivers({"callbacks": None}) and LangSmithExporter().delivers(None)


def test_a_missing_key_is_told_before_anything_runs() -> None:
    from llmops_flows.config.load import load_experiment

    with pytest.raises(ConfigError, match="set the environment variable LANGSMITH_API_KEY"):
        load_experiment("flow=chat", "tracer=langsmith")


def test_a_flow_in_a_traced_chain_is_one_trace_from_the_chain(home: Path, receiver: FakeLangSmith) -> None:
    from langchain_core.tracers import LangChainTracer
    from langsmith import Client

    from llmops_flows import load_flow

    flow = load_flow("chat", "model=echo", "tracer=langsmith")
    client = Client(api_url=receiver.url, api_key="lsv2-test-key", auto_batch_tracing=False)
    answer = flow.invoke("hello", {"callbacks": [LangChainTracer(project_name="app", client=client)]})
    store = TraceStore(home / "traces.sqlite")
    assert uuid.UUID(answer["run_id"]) in {uuid.UUID(root["id"]) for root in receiver.roots()}
    assert store.trace(answer["run_id"]) is not None and store.outbox.pending_counts() == {}
    store.close()
