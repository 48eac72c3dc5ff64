"""A question's latency is what it takes where everything is loaded; what was loaded is told apart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from llmops_flows import Call, Flow, Outcome, Part, Record, Runner, Stage
from llmops_flows.artifacts.artifact import artifact
from llmops_flows.artifacts.loading import Loads
from llmops_flows.artifacts.resources import shared
from llmops_flows.report.summary import summarize
from llmops_flows.report.text.run_text import totals_text
from tests.support.http_models import span
from tests.support.stub_stages import question_records

LOAD, WORK = 0.4, 0.02


class Weights(Part):
    name: str

    def loaded(self) -> str:
        return shared(self, self._load)

    def _load(self) -> str:
        time.sleep(LOAD)
        return self.name


class Knows(Stage):
    """Loads what all of its kind share, works, and shows a piece."""

    writes: ClassVar[str] = "answer"
    name: str

    def run(self, question: str, call: Call) -> str:
        found = Weights(name=self.name).loaded()
        call.token(found)
        time.sleep(WORK)
        return found


class KnowsAsync(Knows):
    async def run(self, question: str) -> str:
        found = await asyncio.to_thread(Weights(name=self.name).loaded)
        await asyncio.sleep(WORK)
        return found


class KnowsMany(Knows):
    def run_many(self, inputs: Sequence[Mapping[str, Any]], calls: Sequence[Call]) -> list[str]:
        found = Weights(name=self.name).loaded()
        time.sleep(WORK * len(inputs))
        return [found] * len(inputs)


class Asks(Stage):
    writes: ClassVar[str] = "answer"
    model: Knows

    async def run(self, question: str, call: Call) -> Outcome:
        asked = (call.ask(self.model, {"question": f"{question}{n}"}) for n in range(3))
        return (await asyncio.gather(*asked))[0]


def spans(stage: Stage, count: int = 1) -> list[Any]:
    with Runner() as runner:
        records = runner.run(Flow(stages={"model": stage}), question_records(*(f"q{n}" for n in range(count))))
    return [span(record) for record in records]


def apart(found: Sequence[Any]) -> None:
    """Nobody's seconds hold the load, and it was told once."""
    assert all(WORK * 0.5 < one.seconds < LOAD * 0.6 for one in found), [one.seconds for one in found]
    assert LOAD <= sum(one.loading for one in found) < 1.8 * LOAD


def test_who_loads_and_who_waits_for_the_load_take_what_they_take_on_a_warm_process() -> None:
    found = spans(Knows(name="threads"), 4)
    apart(found)
    assert all(one.first_token < LOAD * 0.6 for one in found)


def test_a_coroutine_that_loads_in_a_thread_is_timed_without_the_load() -> None:
    apart(spans(KnowsAsync(name="coroutines"), 4))


def test_a_batch_is_timed_without_the_load() -> None:
    apart(spans(KnowsMany(name="batch"), 4))


def test_what_a_judge_s_model_loads_is_no_part_of_the_judge_s_time() -> None:
    apart(spans(Asks(model=Knows(name="judge"))))


def test_an_index_that_a_stage_builds_is_no_part_of_its_time(tmp_path: Path) -> None:
    class Builds(Stage):
        writes = "answer"

        def run(self, question: str) -> str:
            artifact(tmp_path, "ab" * 32, lambda folder: time.sleep(LOAD))
            time.sleep(WORK)
            return "built"

    apart(spans(Builds()))


def test_who_is_warm_tells_of_no_load() -> None:
    spans(Knows(name="warm"), 1)
    kept = Weights(name="cold")
    kept.loaded()
    [again] = spans(Knows(name="cold"))
    assert again.loading == 0.0


def test_loads_side_by_side_and_within_each_other_count_once() -> None:
    parent = Loads()
    loads = Loads(parent)
    loads.add(1.0, 3.0, True)
    loads.add(2.0, 4.0, False)
    loads.add(6.0, 7.0, True)
    assert loads.paused(10.0) == parent.paused(10.0) == 4.0
    assert loads.paused(2.5) == 1.5
    assert loads.own_seconds() == 3.0


def test_the_totals_tell_what_was_loaded_by_whom() -> None:
    with Runner() as runner:
        records = runner.run(Flow(stages={"model": Knows(name="told")}), [Record.of("1", {"question": "q"})])
    told = totals_text(summarize(records, seconds=1.0))
    assert "loading 0.4 s, once, not part of the latency: model 0.4 s" in told
    assert "latency p50 0.0" in told or "latency p50 0.1" in told
