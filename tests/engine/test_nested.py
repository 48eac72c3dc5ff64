"""A stage may ask another stage: through the same cache, gate and threads as everything else."""

from __future__ import annotations

from typing import Any

import pytest

from llmops_flows import Flow, Outcome, Record, Runner, Stage
from llmops_flows.core.record import Usage, add_usage
from llmops_flows.core.stage import Call
from llmops_flows.stores.memory_store import MemoryStore

asked: list[str] = []


class Judge(Stage):
    writes = "answer"
    mark: str = "!"

    def run(self, messages: list[Any]) -> Outcome:
        asked.append(messages[0])
        if messages[0] == "broken":
            raise ValueError("no verdict")
        return Outcome(messages[0] + self.mark, usage=Usage(input_tokens=3, output_tokens=1))


class Asking(Stage):
    writes = "answer"
    judge: Judge = Judge()

    async def run(self, question: str, call: Call) -> Outcome:
        total, said = Usage(), []
        for part in question.split():
            found = await call.ask(self.judge, {"messages": [part]})
            total, said = add_usage(total, found.usage), [*said, found.value]
        return Outcome(" ".join(said), usage=total)


@pytest.fixture(autouse=True)
def fresh() -> None:
    asked.clear()


def run(runner: Runner, *questions: str) -> list[Record]:
    return runner.run(Flow(stages={"asking": Asking()}), [Record.of(q, {"question": q}) for q in questions])


def test_a_stage_gets_the_answer_and_cost_of_the_stage_that_it_calls() -> None:
    with Runner() as runner:
        [record] = run(runner, "a b")
    assert record.answer == "a! b!" and record.usage == {"input_tokens": 6, "output_tokens": 2}


def test_a_repeated_nested_call_is_known_and_costs_nothing() -> None:
    with Runner(store=MemoryStore()) as runner:
        run(runner, "a b")
        [record] = run(runner, "b c")
    assert asked == ["a", "b", "c"] and record.usage == {"input_tokens": 3, "output_tokens": 1}


def test_the_error_of_a_nested_call_is_the_error_of_its_caller() -> None:
    with Runner() as runner:
        fine, broken = run(runner, "a", "broken")
    assert fine.error is None and broken.error is not None
    assert "no verdict" in str(broken.error) and broken.error.stage == "asking"


def test_concurrent_nested_calls_do_not_wait_for_each_others_threads() -> None:
    with Runner(workers=1) as runner:
        records = run(runner, *(f"q{n}" for n in range(20)))
    assert [r.answer for r in records] == [f"q{n}!" for n in range(20)]


def test_nested_calls_emit_no_events() -> None:
    seen: list[str] = []

    class Listener:
        def on(self, event: Any) -> None:
            seen.append(event.kind)

        def close(self) -> None:
            """Nothing to release."""

    with Runner(sinks=[Listener()]) as runner:
        run(runner, "a b c")
    assert seen.count("stage_started") == 1 and seen.count("stage_finished") == 1


class Seen(Stage):
    writes = "answer"

    def run(self, messages: list[Any], call: Call) -> str:
        return str(call.host)


class Scores(Stage):
    writes = "scores"
    gathered = True

    async def run(self, answer: str, call: Call) -> dict[str, Any]:
        found = await call.ask(Seen(), {"messages": []})
        return {"hosts": f"{call.host} {found.value}"}


def test_a_judge_is_no_part_of_the_applications_own_trace() -> None:
    with Runner() as runner:
        [record] = runner.run(
            Flow(stages={"seen": Seen()}, inputs=("messages",)),
            [Record.of("1", {"messages": ["a"]})],
            evaluators={"scores": Scores()},
            host="the app",
        )
    assert record.answer == "the app" and record.get("scores/scores") == {"hosts": "None None"}
