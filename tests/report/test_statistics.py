"""Means, intervals and verdicts, compared with SciPy, with simulated data, and with each other."""

from __future__ import annotations

import json
import math
import random
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops_flows import Record
from llmops_flows.report.comparison import compare
from llmops_flows.report.leaderboard import leaderboard
from llmops_flows.report.run_files import write_run
from llmops_flows.report.saved_runs import SavedRun, read_run
from llmops_flows.report.score_table import ScoreTable
from llmops_flows.report.statistics.corrections import holm
from llmops_flows.report.statistics.intervals import mean_interval
from llmops_flows.report.statistics.paired_tests import paired_p
from llmops_flows.report.statistics.student_t import quantile_95, two_sided_p
from llmops_flows.report.summary import summarize
from tests.support.sweeps import row, saved_run, sweep

SCORES = st.lists(st.one_of(st.none(), st.floats(0, 1, width=16)), min_size=1, max_size=40)


# -- one interval for the same scores --------------------------------------------------------------------------------


def run_in(folder: Path, scores: list[list[float | None]], *, failed: int = 0) -> SavedRun:
    """A run with these scores, one list per question with a score for each sample, as its files say it."""
    records = []
    for question, samples in enumerate(scores):
        for sample, score in enumerate(samples):
            slots = {"question": str(question), "answer": "yes", "scores/judge": {"m": score}}
            records.append(Record.of(f"q{question}.{sample}", slots, sample=sample))
    for record in records[:failed]:
        record.error = RuntimeError("the model is down")
    write_run(folder, records, summarize(records), {})
    return read_run(folder)


@given(
    st.lists(st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=3), min_size=1, max_size=20),
    st.integers(0, 2),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_summary_leaderboard_and_diff_have_the_same_mean_and_interval(
    tmp_path: Path, scores: list[list[float | None]], failed: int
) -> None:
    run = run_in(tmp_path / "0", scores, failed=failed)
    zeros = run_in(tmp_path / "1", [[0.0] for _ in scores])
    summary = json.loads((tmp_path / "0" / "summary.json").read_text())["scores"].get("m")
    ranked = leaderboard([zeros, run])
    [score] = [ranked_row.scores["m"] for ranked_row in ranked.rows if ranked_row.index == 1]
    assert summary in (None, {"mean": score.mean, "low": score.low, "high": score.high, "n": score.n})
    assert summary is not None or score.n == 0
    changes = compare(zeros, run).scores
    if "m" in changes:  # the difference to a run that scores 0 on every question is the score itself
        difference = changes["m"].difference
        assert (difference.mean, difference.low, difference.high, difference.n) == (
            score.mean, score.low, score.high, score.n,
        )  # fmt: skip


# -- p values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t", [0.0, 1e-6, 0.3, 1.0, 1.96, 4.0, 12.0, 60.0])
@pytest.mark.parametrize("degrees", [1, 2, 7, 30, 199, 20_000])
def test_the_t_distribution_is_that_of_scipy(t: float, degrees: int) -> None:
    assert two_sided_p(t, degrees) == pytest.approx(2 * scipy.stats.t.sf(t, degrees), rel=1e-10)


@pytest.mark.parametrize("degrees", [*range(1, 60), 199, 20_000])
def test_the_quantile_of_the_t_distribution_is_that_of_scipy(degrees: int) -> None:
    assert quantile_95(degrees) == pytest.approx(scipy.stats.t.ppf(0.975, degrees), rel=1e-10)


def test_many_differences_have_the_p_value_of_scipys_paired_t_test() -> None:
    generator = np.random.default_rng(1)
    for _ in range(20):
        before, after = generator.random(60), generator.random(60) * 0.9
        expected = scipy.stats.ttest_rel(after, before).pvalue
        assert paired_p((after - before).tolist()) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("n", [6, 9, 12])
def test_few_differences_have_the_p_value_of_scipys_permutation_test(n: int) -> None:
    generator = np.random.default_rng(n)
    for differences in (generator.normal(0.4, 1, n), generator.integers(-2, 4, n).astype(float)):
        expected = scipy.stats.permutation_test(
            (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
        )
        assert paired_p(differences.tolist()) == pytest.approx(expected.pvalue, abs=1e-12)


def test_questions_without_a_difference_do_not_lower_the_p_value() -> None:
    differences = [1.0] * 5 + [0.0] * 95
    assert scipy.stats.ttest_1samp(differences, 0).pvalue < 0.05
    assert paired_p(differences) == 2 / 2**5


def test_the_t_test_is_never_below_the_smallest_p_value_of_the_sign_flips() -> None:
    assert paired_p([0.25] * 20) == 2.0**-19


@given(st.lists(st.floats(0, 1), max_size=12))
def test_corrected_p_values_are_larger_at_most_one_and_keep_their_order(p: list[float]) -> None:
    corrected = [value for value in holm(p) if value is not None]
    assert all(old <= new <= 1 for old, new in zip(p, corrected, strict=True))
    by_size = [new for _, new in sorted(zip(p, corrected, strict=True))]
    assert by_size == sorted(by_size)


def test_the_correction_is_that_of_holm() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]


# -- means and intervals ---------------------------------------------------------------------------------------------


@given(SCORES)
@settings(max_examples=60, deadline=None)
def test_the_interval_contains_the_mean_and_stays_within_the_scores(scores: list[float | None]) -> None:
    score = ScoreTable([saved_run("a", scores)]).scores()[0]["answer_correctness"]
    values = [s for s in scores if s is not None]
    assert score.n == len(values) and score.unscored == len(scores) - len(values)
    if len(values) > 1:
        assert score.mean == pytest.approx(sum(values) / len(values))
        assert score.low is not None and score.high is not None and score.mean is not None
        assert min(values) <= score.low <= score.mean + 1e-9 <= score.high + 2e-9 <= max(values) + 2e-9


def test_the_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(6).random(80).tolist()
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    _, low, high, _ = mean_interval(values)
    assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-10)


@pytest.mark.parametrize("questions", [8, 30, 60])
def test_the_interval_covers_the_true_mean_in_95_of_100_samples(questions: int) -> None:
    generator, covered = random.Random(questions), 0
    for _ in range(1000):
        _, low, high, _ = mean_interval([generator.random() ** 2 for _ in range(questions)])
        assert low is not None and high is not None
        covered += low <= 1 / 3 <= high
    assert 0.91 <= covered / 1000 <= 0.98


def test_more_values_make_a_narrower_interval() -> None:
    generator = random.Random(3)
    values = [generator.random() for _ in range(400)]
    _, low, high, _ = mean_interval(values)
    assert low is not None and high is not None
    assert high - low == pytest.approx(2 * 1.96 * statistics.stdev(values) / 400**0.5, rel=0.01)


def test_one_value_has_no_interval_and_no_value_no_mean() -> None:
    assert mean_interval([0.5]) == (0.5, None, None, 1)
    assert mean_interval([]) == (None, None, None, 0)


def test_equal_values_have_an_interval_of_width_zero() -> None:
    assert mean_interval([0.1] * 8) == (0.1, 0.1, 0.1, 8)


def test_values_that_are_not_finite_numbers_and_rows_with_an_error_are_not_scores() -> None:
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


def compared(before: list[float | None], after: list[float | None], **options: Any) -> Any:
    """The second run against the first, by their only metric."""
    table = ScoreTable([saved_run("a", before, **options), saved_run("b", after, **options)])
    [difference] = table.against(0)[1].values()
    return difference


@given(SCORES)
@settings(max_examples=40, deadline=None)
def test_a_run_does_not_differ_from_itself(scores: list[float | None]) -> None:
    difference = compared(scores, scores)
    assert difference.improved == difference.regressed == 0
    assert difference.mean in (0.0, None) and difference.p in (1.0, None)
    assert difference.verdict == ("no real difference" if difference.n >= 6 else "too few questions")


def test_a_clear_gain_is_better_and_a_clear_loss_is_worse() -> None:
    low, high = [0.1 * (n % 5) for n in range(30)], [0.1 * (n % 5) + 0.2 for n in range(30)]
    table = ScoreTable([saved_run("low", low), saved_run("high", high)])
    assert table.against(0)[1]["answer_correctness"].verdict == "better"
    assert table.against(1)[0]["answer_correctness"].verdict == "worse"
    assert table.against(0)[0]["answer_correctness"].verdict == "baseline"


def test_less_over_refusal_is_better() -> None:
    difference = compared([1.0] * 12, [0.0] * 12, metric="over_refusal")
    assert (difference.verdict, difference.improved, difference.mean) == ("better", 12, -1.0)


def test_only_questions_that_both_runs_have_are_compared() -> None:
    difference = compared([0.0] * 8 + [1.0] * 8, [0.5] * 8 + [None] * 8)
    assert (difference.mean, difference.n) == (0.5, 8)


def test_five_questions_are_too_few() -> None:
    difference = compared([0.0] * 5, [1.0] * 5)
    assert (difference.verdict, difference.n, difference.p) == ("too few questions", 5, None)


@pytest.mark.parametrize("kind", ["smooth", "yes or no", "mostly equal"])
@pytest.mark.parametrize("questions", [8, 20, 60])
def test_without_a_difference_at_most_one_test_in_twenty_finds_one(kind: str, questions: int) -> None:
    generator = np.random.default_rng(questions)
    shape = (1500, questions)
    differences = {
        "smooth": lambda: generator.normal(0, 1, shape),
        "yes or no": lambda: generator.integers(0, 2, shape) - generator.integers(0, 2, shape) * 1.0,
        "mostly equal": lambda: generator.choice([-1.0, 0.0, 1.0], shape, p=[0.05, 0.9, 0.05]),
    }[kind]()
    share = sum(paired_p(row) <= 0.05 for row in differences.tolist()) / 1500
    assert share <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1500)


def test_at_most_one_sweep_without_differences_in_twenty_names_a_better_run() -> None:
    wrong = 0
    for seed in range(200):
        table = ScoreTable(sweep(15, 30, seed=seed))
        wrong += any(found["answer_correctness"].verdict == "better" for found in table.against(0))
    assert wrong / 200 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


def test_a_real_difference_is_found() -> None:
    generator = random.Random(4)
    levels = [generator.random() for _ in range(100)]
    before = [level + generator.gauss(0, 0.1) for level in levels]
    after = [level + 0.05 + generator.gauss(0, 0.1) for level in levels]
    difference = compared([*before], [*after])
    assert difference.verdict == "better" and difference.low > 0


def test_a_table_of_five_hundred_runs_takes_seconds() -> None:
    runs = sweep(500, 200, [f"m{n}" for n in range(12)])
    start = time.process_time()
    table = ScoreTable(runs)
    assert len(table.scores()) == len(table.against(0)) == 500
    assert time.process_time() - start < 20
