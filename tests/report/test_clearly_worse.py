"""Only points that are clearly worse than the best one stop early."""

from __future__ import annotations

import random

from llmops_flows.report.statistics.clearly_worse import ERROR_RATE, clearly_worse


def scores(chance: random.Random, means: list[float], questions: int) -> dict[int, dict[str, float]]:
    hard = [chance.gauss(0, 0.2) for _ in range(questions)]
    return {
        n: {f"q{q}": mean + hard[q] + chance.gauss(0, 0.1) for q in range(questions)} for n, mean in enumerate(means)
    }


def test_clearly_worse_points_lose_to_the_best() -> None:
    found = clearly_worse(scores(random.Random(1), [0.5, 0.8, 0.79, 0.4], 30), "answer_correctness", looks=5)
    assert found == {0: 1, 3: 1}


def test_where_less_is_better_the_larger_ones_are_worse() -> None:
    assert clearly_worse(scores(random.Random(1), [0.2, 0.8], 30), "over_refusal", looks=5) == {1: 0}


def test_equal_points_are_rarely_clearly_worse() -> None:
    chance = random.Random(2)
    wrong = 0
    for _ in range(100):
        whole = scores(chance, [0.5] * 6, 60)
        looks = [{n: dict(list(found.items())[:upto]) for n, found in whole.items()} for upto in (15, 30, 45)]
        wrong += any(clearly_worse(look, "answer_correctness", looks=3) for look in looks)
    assert wrong <= ERROR_RATE * 100


def test_few_questions_or_no_scores_decide_nothing() -> None:
    few = {0: {"a": 1.0, "b": 1.0}, 1: {"a": 0.0, "b": 0.0}}
    assert clearly_worse(few, "answer_correctness", looks=3) == {}
    assert clearly_worse({0: {}, 1: {"a": 1.0}}, "answer_correctness", looks=3) == {}


def test_only_questions_with_both_scores_count() -> None:
    found = {0: {f"q{n}": 1.0 for n in range(30)}, 1: {f"p{n}": 0.0 for n in range(30)}}
    assert clearly_worse(found, "answer_correctness", looks=1) == {}
