"""The causes of cache misses, compared with the closest earlier run."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from llmops_flows import Call, Outcome
from llmops_flows.components.cache.exact import ExactCache
from llmops_flows.components.cache.none import NoCache
from llmops_flows.core.cache_policy import CachePolicy
from llmops_flows.core.record import Record
from llmops_flows.report.cache_misses import MissCause, StageMisses
from tests.support.records import RecordedRuns
from tests.support.stub_stages import Find, Guard, Say, Write, question_records, rag_flow


@pytest.fixture
def place(tmp_path: Path) -> RecordedRuns:
    return RecordedRuns(tmp_path)


def causes(told: StageMisses) -> list[MissCause]:
    """The causes of a stage that computed for one reason only."""
    [reason] = told.groups
    return list(reason.causes)


def test_the_first_run_of_a_stage_says_so(place: RecordedRuns) -> None:
    place.run()
    assert all(causes(told) == [MissCause("first")] and not told.groups[0].run for told in place.misses().values())


def test_known_answers_have_no_causes(place: RecordedRuns) -> None:
    place.run()
    place.run()
    assert all(not told.groups and told.states == {"known": 2} for told in place.misses().values())


def test_a_changed_setting_is_named_with_both_values_and_the_run_before(place: RecordedRuns) -> None:
    place.run()
    place.run(rag_flow(model=Say(name="other")))
    told = place.misses()
    assert causes(told["model"]) == [MissCause("setting", "name", "fake", "other")]
    assert told["model"].groups[0].run == place.runs[0] and told["model"].groups[0].rows == ("q0", "q1")
    assert told["retrieve"].states == {"known": 2}


def test_a_later_stage_names_the_stage_that_wrote_its_input(place: RecordedRuns) -> None:
    place.run()
    place.run(rag_flow(retrieve=Find(k=3)))
    told = place.misses()
    assert causes(told["retrieve"]) == [MissCause("setting", "k", 2, 3)]
    assert causes(told["prompt"]) == [MissCause("input", "documents", by="retrieve")]
    assert causes(told["model"]) == [MissCause("input", "messages", by="prompt")]
    assert causes(told["length"]) == [MissCause("input", "answer", by="model")]


def test_a_new_question_is_a_cause(place: RecordedRuns) -> None:
    place.run()
    place.run(records=question_records("why?", "who?", "when?"))
    told = place.misses()
    assert causes(told["model"]) == [MissCause("row", after="when?")] and told["model"].groups[0].rows == ("q2",)


def test_a_row_whose_text_changed_names_its_slot(place: RecordedRuns) -> None:
    place.run()
    place.run(records=question_records("why?", "whom?"))
    assert causes(place.misses()["retrieve"]) == [MissCause("input", "question", "who?", "whom?")]


def test_a_changed_reference_concerns_the_evaluator_only(place: RecordedRuns) -> None:
    def rows(reference: str) -> list[Record]:
        return [Record.of("q0", {"question": "why?", "reference": reference})]

    place.run(records=rows("so"))
    place.run(records=rows("because"))
    told = place.misses()
    assert causes(told["length"]) == [MissCause("input", "reference", "so", "because")]
    assert told["model"].states == {"known": 1}


def test_the_closest_run_has_the_fewest_differences(place: RecordedRuns) -> None:
    place.run(rag_flow(prompt=Write(text="Say")))
    place.run(rag_flow(prompt=Write(text="Shout"), model=Say(name="other")))
    place.run(rag_flow(prompt=Write(text="Say"), model=Say(name="third")))
    told = place.misses()
    assert causes(told["model"]) == [MissCause("setting", "name", "fake", "third")]
    assert told["model"].groups[0].run == place.runs[0]


def test_another_tenant_is_a_cause(place: RecordedRuns) -> None:
    place.run(tenant="a")
    place.run(tenant="b")
    assert causes(place.misses()["retrieve"]) == [MissCause("tenant", "", "a", "b")]


def test_samples_without_a_seed_are_computed_again(place: RecordedRuns) -> None:
    for _ in range(2):
        place.run(rag_flow(model=Say(temperature=0.5)))
    [cause] = causes(place.misses()["model"])
    assert cause.kind == "again" and "without a seed" in cause.name


def test_a_further_sample_is_a_cause(place: RecordedRuns) -> None:
    model = Say(temperature=0.5)
    place.run(rag_flow(model=model), [Record.of("q0.0", {"question": "why?"}, sample=0)])
    place.run(rag_flow(model=model), [Record.of("q0.1", {"question": "why?"}, sample=1)])
    assert causes(place.misses()["model"]) == [MissCause("sample", "", 0, 1)]


class Moody(Say):
    """Fails until it is cheered up."""

    glad: ClassVar[bool] = False

    def run(self, messages: list[dict[str, str]], call: Call) -> Outcome:
        if not Moody.glad:
            raise RuntimeError("out of luck")
        return super().run(messages, call)


def test_a_failure_is_tried_again(place: RecordedRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    place.run(rag_flow(model=Moody()))
    assert place.misses()["model"].states == {"failed": 2} and "out of luck" in str(place.misses()["model"].errors)
    monkeypatch.setattr(Moody, "glad", True)
    place.run(rag_flow(model=Moody()))
    [cause] = causes(place.misses()["model"])
    assert cause.kind == "again" and "out of luck" in cause.name


@pytest.mark.parametrize(
    ("first", "then", "told"),
    [
        (ExactCache(), ExactCache(refresh=True), "cache.refresh computes again"),
        (ExactCache(), NoCache(), "cache=none reads nothing"),
        (NoCache(), ExactCache(), "it ran with cache=none, which stores nothing"),
    ],
)
def test_a_cache_that_stores_or_reads_nothing_is_a_cause(
    place: RecordedRuns, first: CachePolicy, then: CachePolicy, told: str
) -> None:
    place.run(cache=first)
    place.run(cache=then)
    assert causes(place.misses()["model"]) == [MissCause("again", told)]


def test_an_evicted_answer_is_lost(place: RecordedRuns) -> None:
    place.run()
    place.store.evict(max_bytes=0)
    place.run()
    assert all(causes(told) == [MissCause("lost")] for told in place.misses().values())


def test_an_answer_with_a_secret_is_not_stored(place: RecordedRuns) -> None:
    rows = [Record.of("q0", {"question": "why? password=hunter2hunter2"})]
    for _ in range(2):
        place.run(records=[Record.of(r.id, {"question": r.get("question")}) for r in rows])
    [cause] = causes(place.misses()["model"])
    assert cause.kind == "again" and "secret" in cause.name


def test_new_stages_of_a_flow_run_for_the_first_time(place: RecordedRuns) -> None:
    place.run()
    place.run(rag_flow(second=Guard(wants="said")))
    assert causes(place.misses()["second"]) == [MissCause("first")]
