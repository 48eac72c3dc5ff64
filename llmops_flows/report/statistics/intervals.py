"""Means with 95 % intervals, one value per question, and quantiles, for every report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from .student_t import quantile_95


class MeanInterval(NamedTuple):
    """A mean and its 95 % interval. The bounds are None for a single value, the mean is None without values."""

    mean: float | None
    low: float | None
    high: float | None
    n: int


def mean_interval(values: Sequence[float]) -> MeanInterval:
    """The mean with the interval of Student's t distribution, which is cut to the range of the values."""
    n = len(values)
    if n < 2:
        return MeanInterval(values[0] if values else None, None, None, n)
    lowest, highest = min(values), max(values)
    if lowest == highest:
        return MeanInterval(lowest, lowest, lowest, n)
    mean = math.fsum(values) / n
    variance = math.fsum((value - mean) * (value - mean) for value in values) / (n - 1)
    margin = quantile_95(n - 1) * math.sqrt(variance / n)
    return MeanInterval(mean, max(lowest, mean - margin), min(highest, mean + margin), n)


def question_means(scores: Iterable[tuple[str, Any]]) -> dict[str, float]:
    """Question to the mean of its samples, which are not independent. Only finite numbers are scores."""
    samples: dict[str, list[float]] = {}
    for question, score in scores:
        if isinstance(score, (int, float)) and math.isfinite(score):
            samples.setdefault(question, []).append(score)
    return {question: math.fsum(values) / len(values) for question, values in samples.items()}


def quantile(values: Sequence[float], share: float) -> float | None:
    """The value below which `share` of the values lie, interpolated; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)
