"""The scores of several runs by metric and question, with intervals and with differences to a baseline."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .metrics import lower_is_better
from .saved_runs import SavedRun, row_question
from .statistics.corrections import holm
from .statistics.intervals import mean_interval, question_means
from .statistics.paired_tests import paired_p

ALPHA = 0.05
FEWEST = 6
"""With fewer questions, no difference is significant: the smallest p value of 5 differences is 1/16."""

Row = Mapping[str, Any]
Measure = Callable[[SavedRun, Row], Mapping[str, Any]]


@dataclass(frozen=True)
class Score:
    """A mean over the questions with its 95 % interval.

    n: questions with a score. unscored: rows without one (None, NaN). faulty: rows whose score is not a finite number,
    which is an error. Rows that failed are not counted.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    unscored: int = 0
    faulty: int = 0


@dataclass(frozen=True)
class ScoreDifference:
    """A run compared with the baseline, over the n questions that both have.

    mean, low, high: of the differences per question, with their 95 % interval. p: of the paired test; adjusted:
    corrected for the number of runs (Holm). verdict: better, worse, no real difference, too few questions, or
    baseline. improved, regressed: number of questions.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    p: float | None
    adjusted: float | None
    verdict: str
    improved: int = 0
    regressed: int = 0


@dataclass(frozen=True)
class _ScoreColumn:
    """One metric of one run."""

    means: Mapping[str, float]
    unscored: int
    faulty: int


def row_scores(run: SavedRun, row: Row) -> Mapping[str, Any]:
    """The scores of a row."""
    return row.get("scores") or {}


class ScoreTable:
    """Metrics x runs x questions: the mean of the samples of each question.

    Args:
        runs: their rows count, except rows with an error.
        measure: metric to number of a row; by default, its scores.
    """

    def __init__(self, runs: Sequence[SavedRun], measure: Measure = row_scores) -> None:
        rows = [[(row_question(row), measure(run, row)) for row in run.rows if not row.get("error")] for run in runs]
        self.runs = runs
        self.questions = list(dict.fromkeys(question for run_rows in rows for question, _ in run_rows))
        self.metrics = sorted({metric for run_rows in rows for _, values in run_rows for metric in values})
        self._columns = {
            metric: [_column([(question, values.get(metric)) for question, values in run_rows]) for run_rows in rows]
            for metric in self.metrics
        }

    def scores(self) -> list[dict[str, Score]]:
        """For each run, the mean and interval of every metric."""
        return [
            {metric: _score(columns[index]) for metric, columns in self._columns.items()}
            for index in range(len(self.runs))
        ]

    def differences(self, metric: str, run: int, baseline: int) -> dict[str, float]:
        """Question to the score of a run minus that of the baseline; both by their position."""
        before, after = self._columns[metric][baseline].means, self._columns[metric][run].means
        return {question: score - before[question] for question, score in after.items() if question in before}

    def against(self, baseline: int, metrics: Iterable[str] | None = None) -> list[dict[str, ScoreDifference]]:
        """For each run, its differences to the baseline (a position), with p values corrected for all runs."""
        compared: list[dict[str, ScoreDifference]] = [{} for _ in self.runs]
        for metric in self.metrics if metrics is None else metrics:
            differences = [list(self.differences(metric, run, baseline).values()) for run in range(len(self.runs))]
            p_values = [
                paired_p(values) if len(values) >= FEWEST and run != baseline else None
                for run, values in enumerate(differences)
            ]
            for run, (values, p, adjusted) in enumerate(zip(differences, p_values, holm(p_values), strict=True)):
                compared[run][metric] = _difference(values, p, adjusted, metric, is_baseline=run == baseline)
        return compared

    def scored(self, metric: str) -> list[int]:
        """For each run, the number of questions with a score."""
        return [len(column.means) for column in self._columns[metric]]


def _column(values: Sequence[tuple[str, Any]]) -> _ScoreColumn:
    kinds = [_kind(value) for _, value in values]
    return _ScoreColumn(question_means(values), kinds.count("unscored"), kinds.count("faulty"))


def _kind(value: Any) -> str:
    if value is None:
        return "unscored"
    if not isinstance(value, (int, float)) or math.isinf(value):
        return "faulty"
    return "unscored" if math.isnan(value) else "scored"


def _score(column: _ScoreColumn) -> Score:
    return Score(*mean_interval(list(column.means.values())), column.unscored, column.faulty)


def _difference(
    values: Sequence[float], p: float | None, adjusted: float | None, metric: str, *, is_baseline: bool
) -> ScoreDifference:
    mean, low, high, n = mean_interval(values)
    up, down = sum(value > 0 for value in values), sum(value < 0 for value in values)
    improved, regressed = (down, up) if lower_is_better(metric) else (up, down)
    judged = "baseline" if is_baseline else _verdict(mean, adjusted, metric)
    return ScoreDifference(mean, low, high, n, p, adjusted, judged, improved, regressed)


def _verdict(mean: float | None, adjusted: float | None, metric: str) -> str:
    if mean is None or adjusted is None:
        return "too few questions"
    if adjusted > ALPHA:
        return "no real difference"
    return "better" if (mean < 0) == lower_is_better(metric) else "worse"
