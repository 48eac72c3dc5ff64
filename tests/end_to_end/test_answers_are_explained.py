"""A run id is enough to explain every answer later, and to reproduce it byte for byte."""

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
FIELDS = ("config", "prompt", "documents", "model", "guardrails", "cost")


def quote_passages(request: ReceivedRequest) -> StubResponse:
    """A model that quotes the passages, for 100 tokens in and 10 out, and rejects one question."""
    text = request.body["messages"][-1]["content"]
    if "surgery" in text.lower().split("question:")[-1]:
        return StubResponse(400, body={"error": {"message": "not about that"}})
    quote = text.partition("\n\n")[0].removeprefix("Context: ")[:200]
    first = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m-1"}
    choice = {"index": 0, "delta": {"role": "assistant", "content": quote}, "finish_reason": None}
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
    """Two runs of the shipped flow with a priced model; most answers of the second run are known."""
    folder = tmp_path_factory.mktemp("explained")
    with StubServer(quote_passages) as server, pytest.MonkeyPatch.context() as patch:
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
    """The trace store, without the answer store."""
    return TraceStore(home / "traces.sqlite")


def runs(traces: TraceStore) -> dict[str, list[Trace]]:
    return {run.run: traces.traces(run.run) for run in traces.runs()}


def step(trace: Trace, kind: str) -> Step | None:
    return next((step for step in trace.steps if step.kind == kind), None)


def described(traces: TraceStore, step: Step) -> Any:
    """The class, version and fields of a component."""
    return decode(traces.contents([step.identity])[step.identity])


def explained(traces: TraceStore, trace: Trace) -> dict[str, bool]:
    """Field to whether the trace has it completely, up to the stage where the answer ended."""
    config = traces.config(trace.config) or {}
    retrieved, prompt, model = step(trace, "retriever"), step(trace, "prompt"), step(trace, "model")
    guards = [step for step in trace.steps if step.kind == "guardrail"]
    fields = {
        "config": config.get("name") == "rag_support" and config["model"]["name"] == "m-1" and bool(trace.choices),
        "documents": retrieved is not None
        and all(document["page_content"] and document["id"] for document in retrieved.output)
        and len(described(traces, retrieved)["documents"]) == 64,
        "guardrails": bool(guards)
        and all(guard.verdict is not None and "action" in guard.verdict for guard in guards)
        and all(described(traces, guard)["rules"] for guard in guards),
        "prompt": True, "model": True, "cost": True,
    }  # fmt: skip
    if prompt is not None:
        texts = json.dumps(described(traces, prompt)["messages"])
        fields["prompt"] = "{context}" in texts and prompt.output[-1]["content"].startswith("Context: ")
        assert model is not None and model.inputs["messages"] == prompt.output
        about = described(traces, model)
        fields["model"] = (about["name"], about["temperature"]) == ("m-1", 0) and "code" in about
        if model.state != "failed":
            fields["model"] &= model.notes["model"] == "m-1" and model.output is not None
            fields["cost"] = model.usage["cost_usd"] == pytest.approx((100 * 10 + 10 * 100) / 1e6)
    return fields


def test_every_trace_has_every_field(traces: TraceStore) -> None:
    by_run = runs(traces)
    assert [len(traced) for traced in by_run.values()] == [8, 6]
    fields = [explained(traces, trace) for traced in by_run.values() for trace in traced]
    assert fields == [dict.fromkeys(FIELDS, True)] * 14


def test_the_runs_have_answers_of_every_kind(traces: TraceStore) -> None:
    """Computed, known, blocked and failed answers."""
    every = [trace for traced in runs(traces).values() for trace in traced]
    states = {step.state for trace in every for step in trace.steps if step.kind == "model"}
    assert states == {"computed", "known", "failed"} and any(trace.ended for trace in every)


def test_every_answer_is_reproduced_byte_for_byte(home: Path, traces: TraceStore) -> None:
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


def test_the_trace_store_needs_no_other_store(home: Path, tmp_path: Path) -> None:
    """Also after every answer was evicted."""
    for path in home.glob("traces.sqlite*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    copy = TraceStore(tmp_path / "traces.sqlite", read_values=SQLiteStore(tmp_path / "store.sqlite").values)
    every = [explained(copy, trace) for traced in runs(copy).values() for trace in traced]
    assert len(every) == 14 and all(all(fields.values()) for fields in every)


def test_traces_are_kept_for_183_days_by_default(home: Path, tmp_path: Path) -> None:
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
            sink.close()  # removes old traces, as at the end of each run
            left = TraceStore(copy)
            assert (len(left.traces(run)) == 8) is kept
            assert not kept or all(all(explained(left, trace).values()) for trace in left.traces(run))
            left.close()
