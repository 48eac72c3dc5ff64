"""Every answer can be explained later (promise 34): from a run's id alone, all that made it, and it byte for byte."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmops_flows.cli.run import execute
from llmops_flows.components.tracer.local import LocalTracer
from llmops_flows.config.load import load_experiment
from llmops_flows.core.fingerprint import decode, encode
from llmops_flows.core.trace import Step, Trace
from llmops_flows.report.replay import replay
from llmops_flows.report.traced_run import run_from_traces
from llmops_flows.stores.sqlite_store import SQLiteStore
from llmops_flows.tracing.trace_store import KEPT_DAYS, TraceStore
from tests.support.http_server import ReceivedRequest, StubResponse, StubServer

DAY = 86400.0
FIELDS = ("config", "prompt", "documents", "model", "guardrails", "cost")  # approvals: as soon as there are any


def answering(asked: ReceivedRequest) -> StubResponse:
    """A model that quotes the passages it was given, for 100 tokens in and 10 out; one question it cannot stand."""
    text = asked.body["messages"][-1]["content"]
    if "surgery" in text.lower().split("question:")[-1]:
        return StubResponse(400, body={"error": {"message": "not about that"}})
    said = text.partition("\n\n")[0].removeprefix("Context: ")[:200]
    first = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m-1"}
    choice = {"index": 0, "delta": {"role": "assistant", "content": said}, "finish_reason": None}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    pieces = [
        {**first, "choices": [choice]},
        {**first, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {**first, "choices": [], "usage": usage},
        "[DONE]",
    ]
    return StubResponse(pieces=pieces)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two runs of the shipped flow against a priced model: the second knows most of what it answers."""
    folder = tmp_path_factory.mktemp("explained")
    with StubServer(answering) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMOPS_FLOWS_HOME", str(folder / "home"))
        model = [
            "model=openai_compatible", f"model.base_url={server.url}/v1", "model.name=m-1", "model.limits.attempts=1",
            "model.prices.input=10", "model.prices.output=100",
        ]  # fmt: skip
        for limit in (6, 8):
            run = load_experiment("flow=rag_support", "retriever=bm25", *model, f"questions.limit={limit}")
            execute(run, folder / "outputs" / f"asked{limit}")  # some of the questions fail
    yield folder / "home"


@pytest.fixture
def traces(home: Path) -> TraceStore:
    """The record alone: no answer store beside it."""
    return TraceStore(home / "traces.sqlite")


def runs(traces: TraceStore) -> dict[str, list[Trace]]:
    return {run.run: traces.traces(run.run) for run in traces.runs()}


def step(trace: Trace, kind: str) -> Step | None:
    return next((step for step in trace.steps if step.kind == kind), None)


def described(traces: TraceStore, step: Step) -> Any:
    """All that the component was: class, version, every field."""
    return decode(traces.contents([step.identity])[step.identity])


def explained(traces: TraceStore, trace: Trace) -> dict[str, bool]:
    """Field to whether it is on record whole, as far as the answer got."""
    config = traces.config(trace.config) or {}
    retrieved, asked, answered = step(trace, "retriever"), step(trace, "prompt"), step(trace, "model")
    guards = [one for one in trace.steps if one.kind == "guardrail"]
    found = {
        "config": config.get("name") == "rag_support" and config["model"]["name"] == "m-1" and bool(trace.choices),
        "documents": retrieved is not None
        and all(document["page_content"] and document["id"] for document in retrieved.output)
        and len(described(traces, retrieved)["documents"]) == 64,
        "guardrails": bool(guards)
        and all(one.verdict is not None and "action" in one.verdict for one in guards)
        and all(described(traces, one)["rules"] for one in guards),
        "prompt": True, "model": True, "cost": True,
    }  # fmt: skip
    if asked is not None:
        texts = json.dumps(described(traces, asked)["messages"])
        found["prompt"] = "{context}" in texts and asked.output[-1]["content"].startswith("Context: ")
        assert answered is not None and answered.inputs["messages"] == asked.output
        about = described(traces, answered)
        found["model"] = (about["name"], about["temperature"]) == ("m-1", 0) and "code" in about
        if answered.state != "failed":
            found["model"] &= answered.notes["model"] == "m-1" and answered.output is not None
            found["cost"] = answered.usage["cost_usd"] == pytest.approx((100 * 10 + 10 * 100) / 1e6)
    return found


def test_every_answer_of_every_run_has_every_field_on_record(traces: TraceStore) -> None:
    found = runs(traces)
    assert [len(traced) for traced in found.values()] == [8, 6]
    every = [explained(traces, trace) for traced in found.values() for trace in traced]
    assert all(set(one) == set(FIELDS) for one in every)
    assert sum(sum(one.values()) for one in every) == len(FIELDS) * 14  # 100 %


def test_the_runs_hold_what_makes_that_hard(traces: TraceStore) -> None:
    """Answers that were computed, known, blocked and failed."""
    every = [trace for traced in runs(traces).values() for trace in traced]
    states = {one.state for trace in every for one in trace.steps if one.kind == "model"}
    assert states == {"computed", "known", "failed"} and any(trace.ended for trace in every)


def test_every_answer_comes_out_byte_for_byte(home: Path, traces: TraceStore) -> None:
    results = sorted(home.parent.glob("outputs/*/results.jsonl"))
    for path in results:
        lines = {line["id"]: line for line in map(json.loads, path.read_text().splitlines())}
        run = json.loads((path.parent / "summary.json").read_text())["run"]
        found = replay(run_from_traces(run, traces.traces(run), run=run), traces)
        again = {row["id"]: row for row in found.rows}
        assert {id: encode(row["answer"]) for id, row in again.items()} == {
            id: encode(line["answer"]) for id, line in lines.items()
        }
        assert [t.kind for t in found.problems] == ["failed"] * sum(1 for line in lines.values() if line["error"])
        assert found.config == json.loads((path.parent / "config.json").read_text())


def test_the_record_needs_no_other_store(home: Path, tmp_path: Path) -> None:
    """Also where every answer was let go, and by whichever process it was computed."""
    for path in home.glob("traces.sqlite*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    alone = TraceStore(tmp_path / "traces.sqlite", read_values=SQLiteStore(tmp_path / "store.sqlite").values)
    every = [explained(alone, trace) for traced in runs(alone).values() for trace in traced]
    assert len(every) == 14 and all(all(one.values()) for one in every)


def test_it_is_kept_for_183_days_by_default(home: Path, tmp_path: Path) -> None:
    shipped = LocalTracer(path=tmp_path / "traces.sqlite")
    assert shipped.keep_days == KEPT_DAYS == 183
    traces = TraceStore(home / "traces.sqlite")
    run = next(iter(runs(traces)))
    config = traces.config(traces.runs()[0].config)
    assert config is not None and config["tracer"]["local"]["keep_days"] == 183
    copy = tmp_path / "traces.sqlite"
    with closing(sqlite3.connect(home / "traces.sqlite")) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        for days, kept in ((KEPT_DAYS - 0.01, True), (KEPT_DAYS + 0.01, False)):
            with target:
                target.execute("UPDATE traces SET written = ?", (time.time() - days * DAY,))
            sink = shipped.sink()
            sink.close()  # the end of any run looks after what is too old
            left = TraceStore(copy)
            assert (len(left.traces(run)) == 8) is kept
            assert not kept or all(all(explained(left, trace).values()) for trace in left.traces(run))
            left.close()
