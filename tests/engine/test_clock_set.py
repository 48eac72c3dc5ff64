"""The clock of the machine is set while flows run: nothing stale is taken, nothing is computed twice, order stays."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from llmops_flows import Flow, Record, Runner, Stage
from llmops_flows.components.tracer.local import LocalTracer
from llmops_flows.stores.sqlite_store import SQLiteStore
from llmops_flows.tracing.trace_store import TraceStore

REAL = time.time
SET: list[float] = [0.0]
HOUR = 3600.0
CALLS: list[str] = []


class Steps(Stage):
    """Answers, and sets the clock when it is asked to."""

    writes: ClassVar[str] = "answer"
    inline: ClassVar[bool] = True
    by: float = 0.0

    def run(self, question: str) -> str:
        CALLS.append(question)
        SET[0] += self.by if question == "2" else 0.0
        return f"said {question}"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    SET[0] = 0.0
    CALLS.clear()
    monkeypatch.setattr(time, "time", lambda: REAL() + SET[0])
    yield


def ask(home: Path, by: float) -> list[Record]:
    sink = LocalTracer(path=home / "traces.sqlite").sink({})
    store = SQLiteStore(home / "store.sqlite")
    try:
        with Runner(store=store, sinks=[sink]) as runner:
            flow = Flow(stages={"steps": Steps(by=by)}, inputs=("question",))
            return runner.run(flow, [Record.of(f"q{n}", {"question": str(n)}) for n in range(5)])
    finally:
        sink.close()
        store.close()


@pytest.mark.parametrize("by", [HOUR, -HOUR, -400 * 24 * HOUR])
def test_a_step_within_a_run_costs_nothing_and_changes_no_order(home: Path, by: float) -> None:
    first = ask(home, by)
    assert [record.answer for record in first] == [f"said {n}" for n in range(5)]
    again = ask(home, by)
    assert [record.answer for record in again] == [record.answer for record in first]
    assert CALLS == ["0", "1", "2", "3", "4"]  # the second run knew everything
    traces = TraceStore(home / "traces.sqlite")
    runs = traces.runs()
    assert len(runs) == 2 and traces.last() == runs[0]
    assert all([t.record for t in traces.traces(run.run)] == [f"q{n}" for n in range(5)] for run in runs)
    assert {step.state for trace in traces.traces(runs[0].run) for step in trace.steps} == {"known"}
    traces.close()


def test_a_clock_that_was_wrong_for_a_while_leaves_nothing_behind(home: Path) -> None:
    for step in (10 * HOUR, -20 * HOUR, 10 * HOUR):
        SET[0] += step
        ask(home, 0.0)
    store = SQLiteStore(home / "store.sqlite")
    assert store.lease(["k"], "me", seconds=30)["k"].granted
    assert not store.lease(["k"], "you", seconds=30)["k"].granted
    assert store.verify().lost == {} and store.stats().entries == 5
    store.close()
    assert len(CALLS) == 5


def test_summer_time_begins_and_ends_without_being_noticed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(time, "tzset"):
        pytest.skip("this system has no time zones that can be set")
    for zone in ("CET-1", "CET-1CEST-2,0/0,364/0", "CET-1"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        ask(home, 0.0)
    monkeypatch.delenv("TZ")
    time.tzset()
    traces = TraceStore(home / "traces.sqlite")
    started = [run.started for run in traces.runs()]
    traces.close()
    assert started == sorted(started, reverse=True) and len(CALLS) == 5
