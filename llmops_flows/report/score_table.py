"""What a sweep's scores say: means with intervals, and which variants differ from a baseline beyond doubt."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from llmops_flows.core.errors import MissingExtra

from .metrics import lower_is_better
from .saved_runs import SavedRun, row_question
from .statistics.paired_tests import holm, p_values

if TYPE_CHECKING:
    from .statistics.paired_tests import Floats

RESAMPLES = 2000
SEED = 20
ALPHA = 0.05
FEWEST = 6
"""With fewer questions, no test can find a difference: of 2^5 signs, one in 16 is as far from zero as can be."""
Row = Mapping[str, Any]
Measure = Callable[[SavedRun, Row], Mapping[str, Any]]


@dataclass(frozen=True)
class Score:
    """A mean over the questions with its 95 % bootstrap interval.

    n: questions that were scored. unscored: rows about which the metric says nothing (None, NaN). faulty: rows whose
    score is no finite number, which is an error. Rows that failed count in none of them.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    unscored: int = 0
    faulty: int = 0


@dataclass(frozen=True)
class Difference:
    """A variant against the baseline, over the n questions that both have.

    mean, low, high: of the differences, question by question, with their 95 % bootstrap interval. p: of the paired
    test; adjusted: corrected for the number of variants (Holm). verdict: better, worse, no real difference, too few
    questions, or baseline. improved, regressed: number of questions.
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


def row_scores(variant: SavedRun, row: Row) -> Mapping[str, Any]:
    """The scores of a row."""
    return row.get("scores") or {}


class ScoreTable:
    """Measures x questions x variants, each cell the mean over its samples (NaN: not scored).

    Args:
        variants: whose rows are counted. Rows with an error are not.
        measure: name to number of a row; its scores by default.

    Raises:
        MissingExtra: numpy is not installed.
    """

    def __init__(self, variants: Sequence[SavedRun], measure: Measure = row_scores) -> None:
        np = _numpy()
        rows = [[(row_question(row), row) for row in v.rows if not row.get("error")] for v in variants]
        self.variants = variants
        self.questions = list(dict.fromkeys(name for part in rows for name, _ in part))
        said = [[measure(v, row) for _, row in part] for v, part in zip(variants, rows, strict=True)]
        self.measures = sorted({name for part in said for found in part for name in found})
        shape = (len(self.measures), len(self.questions), len(variants))
        self.values: Floats = np.full(shape, math.nan)
        self.unscored, self.faulty = np.zeros((shape[0], shape[2]), int), np.zeros((shape[0], shape[2]), int)
        places = {name: n for n, name in enumerate(self.questions)}
        for v, (part, found) in enumerate(zip(rows, said, strict=True)):
            if part and self.measures:
                self._fill(v, [places[name] for name, _ in part], _numbers(found, self.measures))

    def _fill(self, v: int, places: list[int], numbers: Floats) -> None:
        """Take in the numbers of a variant (rows x measures), averaged over the rows of one question."""
        np = _numpy()
        there = np.isfinite(numbers)
        sums, counts = np.zeros(self.values.shape[1::-1]), np.zeros(self.values.shape[1::-1])
        np.add.at(sums, places, np.where(there, numbers, 0.0))
        np.add.at(counts, places, there)
        with np.errstate(invalid="ignore"):
            self.values[:, :, v] = (sums / counts).T
        self.unscored[:, v] = np.isnan(numbers).sum(axis=0)
        self.faulty[:, v] = np.isinf(numbers).sum(axis=0)

    def of(self, measure: str) -> Floats:
        """Questions x variants of one measure."""
        found: Floats = self.values[self.measures.index(measure)]
        return found

    def scores(self) -> list[dict[str, Score]]:
        """For each variant, every measure with its mean and interval."""
        found: list[dict[str, Score]] = [{} for _ in self.variants]
        for m, measure in enumerate(self.measures):
            for v, (mean, low, high, n) in enumerate(means(self.values[m])):
                found[v][measure] = Score(mean, low, high, n, int(self.unscored[m, v]), int(self.faulty[m, v]))
        return found

    def against(self, baseline: int, measures: Iterable[str] | None = None) -> list[dict[str, Difference]]:
        """For each variant, its differences to the baseline (a position), corrected over the variants."""
        found: list[dict[str, Difference]] = [{} for _ in self.variants]
        for measure in self.measures if measures is None else measures:
            values = self.of(measure)
            for v, difference in enumerate(_against(values - values[:, [baseline]], baseline, measure)):
                found[v][measure] = difference
        return found


def means(values: Floats) -> list[tuple[float | None, float | None, float | None, int]]:
    """Mean, 95 % bootstrap interval and n of each column (questions x variants); NaN is left out.

    Every column is resampled alike, with one seed, so that equal values have equal intervals.
    """
    np = _numpy()
    there = np.isfinite(values)
    n = there.sum(axis=0)
    filled = np.where(there, values, 0.0)
    draws = _draws(len(values))
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = draws @ filled / (draws @ there.astype(float) if (n < len(values)).any() else len(values))
    low, high = _quantiles(spread, n)
    found: list[tuple[float | None, float | None, float | None, int]] = []
    for v, count in enumerate(n.tolist()):
        if not count:
            found.append((None, None, None, 0))
            continue
        mine = values[there[:, v], v]
        mean = math.fsum(mine.tolist()) / count
        if count == 1 or mine.min() == mine.max():
            found.append((mean, mean if count > 1 else None, mean if count > 1 else None, count))
        else:
            found.append((mean, float(low[v]), float(high[v]), count))
    return found


@functools.lru_cache(maxsize=4)
def _draws(questions: int) -> Floats:
    """How often each question is drawn in each resample (resamples x questions)."""
    np = _numpy()
    chances = [1 / max(1, questions)] * questions
    drawn: Floats = np.random.default_rng(SEED).multinomial(questions, chances, RESAMPLES).astype(float)
    return drawn


def _quantiles(spread: Floats, n: Floats) -> Floats:
    """The 2.5 % and 97.5 % quantiles of the columns that have values; NaN for the others."""
    np = _numpy()
    found: Floats = np.full((2, len(n)), math.nan)
    whole = np.isfinite(spread).all(axis=0)
    for columns, quantile in ((whole, np.quantile), (~whole & (n > 0), np.nanquantile)):
        if columns.any():
            found[:, columns] = quantile(spread[:, columns], [0.025, 0.975], axis=0)
    return found


def _numbers(found: Sequence[Mapping[str, Any]], measures: Sequence[str]) -> Floats:
    """Rows x measures as numbers: None becomes NaN, what is no number becomes infinite."""
    np = _numpy()
    cells = [[row.get(name) for name in measures] for row in found]
    try:
        numbers: Floats = np.array(cells, dtype=float)
    except (TypeError, ValueError):
        numbers = np.array([[_number(value) for value in row] for row in cells], dtype=float)
    return numbers


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    return float(value) if isinstance(value, (int, float)) else math.inf


def _against(differences: Floats, baseline: int, measure: str) -> list[Difference]:
    np = _numpy()
    described = means(differences)
    tested = [n >= FEWEST and v != baseline for v, (*_, n) in enumerate(described)]
    p = [value if told else None for value, told in zip(p_values(differences), tested, strict=True)]
    signed = -differences if lower_is_better(measure) else differences
    improved, regressed = (signed > 0).sum(axis=0), (signed < 0).sum(axis=0)
    assert isinstance(improved, np.ndarray)
    return [
        Difference(
            mean, low, high, n, p[v], adjusted,
            "baseline" if v == baseline else verdict(mean, adjusted, measure), int(improved[v]), int(regressed[v]),
        )
        for v, ((mean, low, high, n), adjusted) in enumerate(zip(described, holm(p), strict=True))
    ]  # fmt: skip


def verdict(mean: float | None, adjusted: float | None, measure: str) -> str:
    """A difference in plain words."""
    if mean is None or adjusted is None:
        return "too few questions"
    if adjusted > ALPHA:
        return "no real difference"
    return "better" if (mean < 0) == lower_is_better(measure) else "worse"


def plain(value: Score | Difference) -> dict[str, Any]:
    """A score or difference as plain data."""
    return asdict(value)


def _numpy() -> Any:
    try:
        import numpy
    except ModuleNotFoundError as error:
        raise MissingExtra("numpy", "default", "the comparison of variants") from error
    return numpy
