"""Which variants are worse than the best one beyond doubt, however often one looks while the questions come in."""

from __future__ import annotations

from collections.abc import Mapping

from ..metrics import lower_is_better
from .paired_tests import p_values

ERROR_RATE = 0.05
"""The chance that of all variants and looks of a sweep any one stops a variant that is no worse than the best."""

Scores = Mapping[int, Mapping[str, float]]
"""Variant to its score on each question that it was asked."""


def clearly_worse(scores: Scores, metric: str, looks: int) -> dict[int, int]:
    """Variant that is worse than the best beyond doubt, to the best one.

    Paired by question, two-sided, corrected for the number of looks and of pairs (Bonferroni), for which variant is
    the best is found by looking, too. A variant without scores is no worse than any other.

    Args:
        metric: decides whether more is better. looks: how often one will look at these variants in all.
    """
    import numpy as np

    sign = -1.0 if lower_is_better(metric) else 1.0
    means = {n: sign * sum(found.values()) / len(found) for n, found in scores.items() if found}
    if len(means) < 2:
        return {}
    best = max(means, key=lambda n: (means[n], -n))
    others = [n for n in means if n != best]
    asked = list(scores[best])
    nothing = float("nan")
    steps = np.array([[sign * (scores[n].get(q, nothing) - scores[best][q]) for n in others] for q in asked])
    limit = ERROR_RATE / (len(means) * len(others) / 2 * looks)
    worse = [float(np.nansum(column)) < 0 for column in steps.T]
    return {n: best for n, p, lower in zip(others, p_values(steps), worse, strict=True) if lower and p < limit}
