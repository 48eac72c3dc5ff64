"""Means, intervals and verdicts hold: against scipy, against simulated data, and by their own laws."""

from __future__ import annotations

import math
import random
import time

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_flows.report.saved_runs import SavedRun
from llmops_flows.report.score_table import ScoreTable, means
from llmops_flows.report.statistics.paired_tests import holm, p_values
from llmops_flows.report.statistics.student import two_sided
from tests.support.sweeps import row, saved_run, sweep

SCORES = st.lists(st.one_of(st.none(), st.floats(0, 1, width=16)), min_size=1, max_size=40)


# -- p values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t", [0.0, 1e-6, 0.3, 1.0, 1.96, 4.0, 12.0, 60.0])
@pytest.mark.parametrize("freedom", [1, 2, 7, 30, 199, 20_000])
def test_the_student_distribution_is_scipys(t: float, freedom: int) -> None:
    assert two_sided(t, freedom) == pytest.approx(2 * scipy.stats.t.sf(t, freedom), rel=1e-8)


def test_many_differences_are_tested_as_scipy_tests_them() -> None:
    chance = np.random.default_rng(1)
    one, other = chance.random((60, 20)), chance.random((60, 20)) * 0.9
    wanted = scipy.stats.ttest_rel(one, other).pvalue
    assert p_values(one - other) == pytest.approx(list(wanted), rel=1e-8)


@pytest.mark.parametrize("n", [6, 9, 12])
def test_few_differences_are_tested_by_all_flips_of_their_signs_as_scipy_does(n: int) -> None:
    chance = np.random.default_rng(n)
    for differences in (chance.normal(0.4, 1, n), chance.integers(-2, 4, n).astype(float)):
        found = scipy.stats.permutation_test(
            (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
        )
        assert p_values(differences[:, None]) == pytest.approx([found.pvalue], abs=1e-12)


def test_questions_without_a_difference_do_not_make_a_few_others_sure() -> None:
    differences = np.zeros((100, 1))
    differences[:5] = 1.0
    assert scipy.stats.ttest_1samp(differences[:, 0], 0).pvalue < 0.05
    assert p_values(differences) == [2 / 2**5]


def test_no_test_claims_more_than_the_flips_of_the_signs_could() -> None:
    assert p_values(np.full((20, 1), 0.25)) == [2.0**-19]


@given(st.lists(st.floats(0, 1), max_size=12))
def test_corrected_p_values_are_larger_at_most_one_and_keep_their_order(p: list[float]) -> None:
    found = [value for value in holm(p) if value is not None]
    assert all(old <= new <= 1 for old, new in zip(p, found, strict=True))
    by_size = [new for _, new in sorted(zip(p, found, strict=True))]
    assert by_size == sorted(by_size)


def test_the_correction_is_holms() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]


# -- means and intervals ---------------------------------------------------------------------------------------------


@given(SCORES)
@settings(max_examples=60, deadline=None)
def test_the_interval_holds_the_mean_and_stays_within_the_scores(scores: list[float | None]) -> None:
    score = ScoreTable([saved_run("a", scores)]).scores()[0]["answer_correctness"]
    kept = [s for s in scores if s is not None]
    assert score.n == len(kept) and score.unscored == len(scores) - len(kept)
    if len(kept) > 1:
        assert score.mean == pytest.approx(sum(kept) / len(kept))
        assert score.low is not None and score.high is not None and score.mean is not None
        assert min(kept) - 1e-9 <= score.low <= score.mean + 1e-9 <= score.high + 2e-9 <= max(kept) + 3e-9


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    values = np.random.default_rng(5).random((60, 1500)) ** 2
    covered = [low <= 1 / 3 <= high for _, low, high, _ in means(values) if low is not None and high is not None]
    assert 0.92 <= sum(covered) / len(covered) <= 0.97


def test_the_interval_is_scipys_bootstrap() -> None:
    values = np.random.default_rng(6).random(80)
    [(_, low, high, _)] = means(values[:, None])
    wanted = scipy.stats.bootstrap((values,), np.mean, n_resamples=9999, method="percentile", rng=1)
    assert (low, high) == pytest.approx(tuple(wanted.confidence_interval), abs=0.006)


def test_what_is_not_scored_an_error_or_infinite_is_no_score() -> None:
    rows = [row("a", m=1.0), row("b", m=None), row("c", m=math.nan), row("d", m=math.inf), row("e", m="high")]
    rows += [{**row("f", error="model: down"), "scores": {"m": 0.0}}]
    score = ScoreTable([SavedRun("v", rows=rows)]).scores()[0]["m"]
    assert (score.mean, score.n, score.unscored, score.faulty) == (1.0, 1, 2, 2)
    assert (score.low, score.high) == (None, None)


def test_samples_of_a_question_are_averaged_first() -> None:
    rows = [
        {**row("a.0", m=0.0), "sample": 0},
        {**row("a.1", m=1.0), "sample": 1},
        {**row("b.0", m=1.0), "sample": 0},
    ]
    score = ScoreTable([SavedRun("v", rows=rows)]).scores()[0]["m"]
    assert (score.mean, score.n) == (0.75, 2)


def test_a_sweep_in_which_everything_failed_has_no_scores() -> None:
    table = ScoreTable([SavedRun("v", rows=[row("a", error="down")]), SavedRun("w")])
    assert table.scores() == [{}, {}] and table.against(0) == [{}, {}]


# -- verdicts --------------------------------------------------------------------------------------------------------


@given(SCORES)
@settings(max_examples=40, deadline=None)
def test_a_variant_does_not_differ_from_itself(scores: list[float | None]) -> None:
    found = ScoreTable([saved_run("a", scores), saved_run("b", scores)]).against(0)[1]["answer_correctness"]
    assert found.improved == found.regressed == 0
    assert found.mean in (0.0, None) and found.p in (1.0, None)
    assert found.verdict == ("no real difference" if found.n >= 6 else "too few questions")


def test_a_clear_gain_is_better_and_its_mirror_worse() -> None:
    low, high = [0.1 * (n % 5) for n in range(30)], [0.1 * (n % 5) + 0.2 for n in range(30)]
    table = ScoreTable([saved_run("low", low), saved_run("high", high)])
    assert table.against(0)[1]["answer_correctness"].verdict == "better"
    assert table.against(1)[0]["answer_correctness"].verdict == "worse"
    assert table.against(0)[0]["answer_correctness"].verdict == "baseline"


def test_less_refusing_too_much_is_better() -> None:
    more, less = saved_run("a", [1.0] * 12, metric="over_refusal"), saved_run("b", [0.0] * 12, metric="over_refusal")
    found = ScoreTable([more, less]).against(0)[1]["over_refusal"]
    assert (found.verdict, found.improved, found.mean) == ("better", 12, -1.0)


def test_only_questions_that_both_have_are_compared() -> None:
    found = ScoreTable([saved_run("a", [0.0] * 8 + [1.0] * 8), saved_run("b", [0.5] * 8 + [None] * 8)]).against(0)[1]
    assert (found["answer_correctness"].mean, found["answer_correctness"].n) == (0.5, 8)


def test_five_questions_are_too_few() -> None:
    found = ScoreTable([saved_run("a", [0.0] * 5), saved_run("b", [1.0] * 5)]).against(0)[1]["answer_correctness"]
    assert (found.verdict, found.n, found.p) == ("too few questions", 5, None)


@pytest.mark.parametrize("kind", ["smooth", "yes or no", "mostly equal"])
@pytest.mark.parametrize("questions", [8, 20, 60])
def test_without_a_difference_one_test_in_twenty_at_most_finds_one(kind: str, questions: int) -> None:
    chance = np.random.default_rng(questions)
    shape = (questions, 3000)
    differences = {
        "smooth": lambda: chance.normal(0, 1, shape),
        "yes or no": lambda: chance.integers(0, 2, shape) - chance.integers(0, 2, shape) * 1.0,
        "mostly equal": lambda: chance.choice([-1.0, 0.0, 1.0], shape, p=[0.05, 0.9, 0.05]),
    }[kind]()
    share = float(np.mean(np.array(p_values(differences)) <= 0.05))
    assert share <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 3000)


def test_of_sweeps_without_a_difference_one_in_twenty_at_most_names_a_better_variant() -> None:
    wrong = 0
    for seed in range(200):
        table = ScoreTable(sweep(15, 30, seed=seed))
        wrong += any(found["answer_correctness"].verdict == "better" for found in table.against(0))
    assert wrong / 200 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


def test_a_real_difference_is_found() -> None:
    chance = random.Random(4)
    levels = [chance.random() for _ in range(100)]
    base = [level + chance.gauss(0, 0.1) for level in levels]
    gain = [level + 0.05 + chance.gauss(0, 0.1) for level in levels]
    found = ScoreTable([saved_run("a", base), saved_run("b", gain)]).against(0)[1]["answer_correctness"]
    assert found.verdict == "better" and found.low is not None and found.low > 0


def test_five_hundred_variants_take_seconds() -> None:
    variants = sweep(500, 200, [f"m{n}" for n in range(12)])
    begun = time.process_time()
    table = ScoreTable(variants)
    assert len(table.scores()) == len(table.against(0)) == 500
    assert time.process_time() - begun < 20
