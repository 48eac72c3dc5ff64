"""The test for points of a sweep that are clearly worse than the best one, while their questions still run."""

from __future__ import annotations

from collections.abc import Mapping

from ..metrics import lower_is_better
from .paired_tests import paired_p

ERROR_RATE = 0.05
"""The chance that a sweep, over all its points and looks, stops a point that is not worse than the best one."""

PointScores = Mapping[int, Mapping[str, float]]
"""Point number to its score on each question so far."""


def clearly_worse(scores: PointScores, metric: str, looks: int) -> dict[int, int]:
    """Points that are clearly worse, each with the point that is better: the one with the best mean.

    The test is paired by question and two-sided, with Bonferroni's correction for the looks and for all pairs of
    points, because the best point is chosen by the same scores. A point without scores is never clearly worse.

    Args:
        metric: decides whether more is better.
        looks: the number of tests in one sweep.
    """
    sign = -1.0 if lower_is_better(metric) else 1.0
    means = {n: sign * sum(answers.values()) / len(answers) for n, answers in scores.items() if answers}
    if len(means) < 2:
        return {}
    best = max(means, key=lambda n: (means[n], -n))
    limit = ERROR_RATE / (len(means) * (len(means) - 1) / 2 * looks)
    worse = {}
    for n in means:
        differences = [sign * (scores[n][q] - score) for q, score in scores[best].items() if q in scores[n]]
        if sum(differences) < 0 and paired_p(differences) < limit:
            worse[n] = best
    return worse
