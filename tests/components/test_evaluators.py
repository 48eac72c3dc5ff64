"""Evaluators that need no language model: right numbers, None where there is nothing to say, errors for nonsense."""

from __future__ import annotations

import math
from typing import Any

import pytest

from llmops_flows import Flow, Record, Runner, Stage
from llmops_flows.components.evaluator.basic import (
    AnswerRelevance,
    ContextRelevance,
    Correctness,
    Groundedness,
    RefusalMetrics,
    RetrievalMetrics,
)
from llmops_flows.core.record import Document
from llmops_flows.report.summary import summarize


def found(*ids: str) -> list[Document]:
    return [{"id": name, "page_content": f"text of {name}", "metadata": {}} for name in ids]


@pytest.fixture
def retrieval() -> RetrievalMetrics:
    return RetrievalMetrics()


def test_the_first_gold_page_decides_the_reciprocal_rank(retrieval: RetrievalMetrics) -> None:
    scores = retrieval.run(found("x", "b", "a"), ["a", "b"])
    assert scores["mrr"] == 1 / 2 and scores["hit"] == 1.0 and scores["recall"] == 1.0


def test_ndcg_is_gain_by_rank_over_the_best_order(retrieval: RetrievalMetrics) -> None:
    ideal = 1 + 1 / math.log2(3)
    assert retrieval.run(found("x", "b", "a"), ["a", "b"])["ndcg"] == pytest.approx((1 / math.log2(3) + 1 / 2) / ideal)
    assert retrieval.run(found("a", "b"), ["a", "b"])["ndcg"] == 1.0


def test_a_short_list_is_not_perfect_because_it_is_short(retrieval: RetrievalMetrics) -> None:
    scores = retrieval.run(found("a"), ["a", "b"])
    assert scores["ndcg"] == pytest.approx(1 / (1 + 1 / math.log2(3))) and scores["recall"] == 0.5


def test_the_ideal_reaches_no_further_than_k() -> None:
    assert RetrievalMetrics(k=1).run(found("a", "b"), ["a", "b"])["ndcg"] == 1.0


def test_k_cuts_the_list() -> None:
    assert RetrievalMetrics(k=2).run(found("x", "y", "a"), ["a"]) == {
        "hit": 0.0,
        "recall": 0.0,
        "mrr": 0.0,
        "ndcg": 0.0,
    }


def test_passages_of_one_page_count_once_at_its_best_rank(retrieval: RetrievalMetrics) -> None:
    scores = retrieval.run(found("a#page=1&part=0", "a#page=1&part=1", "a#page=2&part=0"), ["a#page=2", "a#page=1"])
    assert scores == {"hit": 1.0, "recall": 1.0, "mrr": 1.0, "ndcg": 1.0}


def test_gold_named_twice_counts_once(retrieval: RetrievalMetrics) -> None:
    assert retrieval.run(found("a"), ["a", "a"]) == {"hit": 1.0, "recall": 1.0, "mrr": 1.0, "ndcg": 1.0}


def test_gold_without_a_page_is_met_by_any_page_of_the_file(retrieval: RetrievalMetrics) -> None:
    scores = retrieval.run(found("a.md#page=3&part=1", "a.md#page=4"), ["a.md"])
    assert scores == {"hit": 1.0, "recall": 1.0, "mrr": 1.0, "ndcg": 1.0}


def test_a_question_without_gold_says_nothing(retrieval: RetrievalMetrics) -> None:
    nothing = {"hit": None, "recall": None, "mrr": None, "ndcg": None}
    assert retrieval.run(found("a"), None) == nothing
    assert retrieval.run(found("a"), []) == nothing
    assert retrieval.run(None, ["a"]) == nothing


def test_no_passages_found_nothing(retrieval: RetrievalMetrics) -> None:
    assert retrieval.run([], ["a"])["hit"] == 0.0


def test_gold_that_is_a_text_is_an_error_not_a_set_of_letters(retrieval: RetrievalMetrics) -> None:
    with pytest.raises(TypeError, match="gold must be a list"):
        retrieval.run(found("a"), "abc")  # type: ignore[arg-type]


def test_an_answer_like_the_reference_is_correct() -> None:
    assert Correctness().run("It covers 80%.", "covers 80%")["answer_correctness"] == 1.0


def test_the_right_words_with_the_wrong_number_are_half_as_correct() -> None:
    right = Correctness().run("You have 60 days to appeal a claim.", "You have 60 days to appeal a claim.")
    wrong = Correctness().run("You have 30 days to appeal a claim.", "You have 60 days to appeal a claim.")
    assert right["answer_correctness"] == 1.0
    assert wrong["answer_correctness"] is not None and wrong["answer_correctness"] < 0.5


def test_a_number_is_scored_as_it_is_written() -> None:
    assert Correctness().run("The answer is 42.", 42)["answer_recall"] == 1.0  # type: ignore[arg-type]


def test_without_a_reference_nothing_is_correct_or_wrong() -> None:
    for reference in (None, "", "…"):
        assert Correctness().run("Yes.", reference) == {"answer_correctness": None, "answer_recall": None}


def test_refusing_is_correct_where_the_reference_refuses() -> None:
    assert Correctness().run("I don't know.", "I don't know.")["answer_correctness"] == 1.0
    assert Correctness().run("I don't know the cost.", "the cost is 5")["answer_correctness"] == 0.0


@pytest.mark.parametrize("value", [math.nan, math.inf, True, ["a"], {"text": "a"}])
def test_what_is_no_text_is_an_error(value: Any) -> None:
    for score in (
        lambda: Groundedness().run(value, found("a")),
        lambda: AnswerRelevance().run("why", value),
        lambda: Correctness().run("a", value),
        lambda: RefusalMetrics().run(value, True),
    ):
        with pytest.raises(TypeError, match="must be text"):
            score()


def test_an_empty_answer_is_neither_grounded_nor_relevant_nor_a_refusal() -> None:
    assert Groundedness().run(" ", found("a")) == {"groundedness": None}
    assert AnswerRelevance().run("why", "") == {"answer_relevance": None}
    assert RefusalMetrics().run("", False) == {"right_refusal": None, "over_refusal": None}
    assert Correctness().run("", "yes")["answer_correctness"] == 0.0


def test_without_passages_nothing_is_grounded_or_not() -> None:
    assert Groundedness().run("Yes.", None) == {"groundedness": None}
    assert Groundedness().run("Yes.", []) == {"groundedness": None}


def test_passages_that_are_none_are_an_error() -> None:
    with pytest.raises(TypeError, match="page_content"):
        ContextRelevance().run("why", ["text"])  # type: ignore[list-item]


def test_what_went_into_the_prompt_counts_before_what_was_found() -> None:
    scores = ContextRelevance().run("zebra", found("horse"), [{"id": "z", "page_content": "a zebra", "metadata": {}}])
    assert scores == {"context_relevance": 1.0}


def test_refusals_are_right_or_over() -> None:
    assert RefusalMetrics().run("I don't know.", False) == {"right_refusal": 1.0, "over_refusal": None}
    assert RefusalMetrics().run("I don't know.", True) == {"right_refusal": None, "over_refusal": 1.0}
    assert RefusalMetrics().run("Yes.", None) == {"right_refusal": None, "over_refusal": None}


class Say(Stage):
    writes = "answer"

    def run(self, question: str) -> Any:
        if question == "broken":
            raise RuntimeError("the model is down")
        return {"not": "text"} if question == "object" else "It covers it."


def test_a_failing_evaluator_is_an_error_with_its_cause_and_no_score() -> None:
    rows = [Record.of(q, {"question": q, "reference": "It covers it."}) for q in ("fine", "object")]
    with Runner() as runner:
        runner.run(Flow(stages={"say": Say()}), rows, evaluators={"correctness": Correctness()})
    told = summarize(rows)
    assert told["scores"]["answer_correctness"]["mean"] == 1.0 and told["scores"]["answer_correctness"]["n"] == 1
    assert told["errors"]["records"] == 0 and told["errors"]["evaluations"] == 1
    [cause] = told["errors"]["causes"]
    assert cause.startswith("correctness:") and "must be text" in cause
