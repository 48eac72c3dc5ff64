"""A stage runs where it belongs, is timed from when it begins, and harms nobody else by how it ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest

from llmops_flows import BackendError, Call, Flow, Record, Runner, Stage
from llmops_flows.calls.gate import Gate
from llmops_flows.components.model.echo import Echo
from llmops_flows.core.limits import Limits
from llmops_flows.testing.clock import FakeClock
from tests.support.http_models import span
from tests.support.stub_stages import Find, Write, question_records


class Nap(Stage):
    """Blocks its thread; notes how many did at once."""

    writes: ClassVar[str] = "documents"
    places: int | None = None
    inside: ClassVar[list[int]] = []
    now: ClassVar[int] = 0
    lock: ClassVar[threading.Lock] = threading.Lock()

    @property
    def max_concurrency(self) -> int | None:
        return self.places

    def run(self, question: str) -> list[str]:
        with Nap.lock:
            Nap.now += 1
            Nap.inside.append(Nap.now)
        time.sleep(0.1)
        with Nap.lock:
            Nap.now -= 1
        return [question]


@pytest.mark.parametrize(("places", "workers", "most"), [(None, 2, 2), (3, 2, 3), (1, 8, 1), (20, 2, 12)])
def test_a_stage_says_how_many_it_serves_at_once_else_the_workers_do(places: int, workers: int, most: int) -> None:
    Nap.inside.clear()
    with Runner(workers=workers, gate=Gate()) as runner:
        records = runner.run(Flow(stages={"nap": Nap(places=places)}), question_records(*(f"q{n}" for n in range(12))))
    assert max(Nap.inside) == most
    assert all(0.09 < span(record, "nap").seconds < 0.35 for record in records)


@pytest.mark.parametrize("inline", [True, False])
def test_a_stage_that_calls_sys_exit_fails_its_record_and_nothing_else(inline: bool) -> None:
    class Leaves(Stage):
        writes = "documents"

        def run(self, question: str) -> list[str]:
            if question == "bad":
                raise SystemExit(3)
            return [question]

    Leaves.inline = inline
    with Runner() as runner:
        bad, good = runner.run(Flow(stages={"leaves": Leaves()}), question_records("bad", "good"))
        assert "SystemExit: 3" in str(bad.error)
        assert good.get("documents") == ["good"]
        assert runner.run(Flow(stages={"find": Find()}), question_records("a"))[0].error is None


def test_a_stage_whose_own_work_was_cancelled_fails_like_any_other() -> None:
    class Cancelled(Stage):
        writes = "documents"

        async def run(self, question: str) -> list[str]:
            if question == "bad":
                raise asyncio.CancelledError
            return [question]

    with Runner() as runner:
        bad, good = runner.run(Flow(stages={"own": Cancelled()}), question_records("bad", "good"))
    assert "CancelledError" in str(bad.error)
    assert good.error is None


class Bulk(Echo):
    """A service that answers a whole batch with one request."""

    name: str = "bulk"
    fails: int = 0
    rows: str = "never"
    limits: Limits = Limits()
    calls: ClassVar[list[Any]] = []

    @property
    def backend(self) -> str:
        return "bulk"

    def run_many(self, inputs: Sequence[Mapping[str, Any]], calls: Sequence[Call]) -> list[Any]:
        Bulk.calls.append(calls)
        if len(Bulk.calls) <= self.fails:
            raise BackendError("answered 500", status=500, retryable=True)
        texts = [given["messages"][-1]["content"] for given in inputs]
        return [BackendError("not this row", status=400) if self.rows in text else text.upper() for text in texts]


@pytest.fixture
def flow() -> Any:
    Bulk.calls.clear()
    return lambda model: Flow(stages={"retrieve": Find(), "prompt": Write(), "model": model})


def test_a_batch_goes_through_the_gate_as_one_call(flow: Any) -> None:
    with Runner(gate=Gate(clock=FakeClock())) as runner:
        records = runner.run(flow(Bulk(fails=1)), question_records("a", "b"))
    assert [record.answer for record in records] == ["ANSWER: A (2)", "ANSWER: B (2)"]
    assert [len(calls) for calls in Bulk.calls] == [2, 2]
    assert all(call.deadline is not None for call in Bulk.calls[-1])


def test_a_batch_that_fails_is_answered_row_by_row_by_the_fallback(flow: Any) -> None:
    with Runner(gate=Gate(clock=FakeClock())) as runner:
        records = runner.run(flow(Bulk(fails=9, fallback=Echo())), question_records("a", "b"))
    assert [record.answer for record in records] == ["Answer: a (2)", "Answer: b (2)"]
    assert len(Bulk.calls) == 3
    assert span(records[0]).notes["fallback_for"] == "bulk"


def test_a_row_that_fails_is_answered_by_the_fallback(flow: Any) -> None:
    with Runner(gate=Gate(clock=FakeClock())) as runner:
        records = runner.run(flow(Bulk(rows="a (", fallback=Echo())), question_records("a", "b"))
    assert [record.answer for record in records] == ["Answer: a (2)", "ANSWER: B (2)"]


def test_a_thread_whose_call_has_ended_sees_that_it_is_cancelled() -> None:
    ended = threading.Event()

    class Slow(Echo):
        name: str = "slow"

        @property
        def backend(self) -> str:
            return "slow"

        def run(self, messages: list[Any], call: Call) -> Any:
            while not call.cancelled():
                time.sleep(0.01)
            ended.set()
            raise BackendError("nobody waits")

    flow = Flow(stages={"model": Slow(limits=Limits(timeout=0.1), fallback=Echo())}, inputs=("messages",))
    with Runner(gate=Gate()) as runner:
        [record] = runner.run(flow, [Record.of("1", {"messages": [{"role": "user", "content": "x"}]})])
        assert record.answer == "x"
        assert ended.wait(1)
