"""The paired test of two runs: how likely differences this large are if the runs do not differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from .student_t import two_sided_p

EXACT = 14
"""Up to this number of questions with a difference, the test counts all 2^n assignments of signs."""
_TOLERANCE = 1e-9


def paired_p(differences: Sequence[float]) -> float:
    """The two-sided p value of one difference per question.

    With few differences that are not zero, this is the exact sign-flip permutation test. Otherwise it is the paired t
    test, raised to the smallest p value that the sign-flip test can have.
    """
    changed = tuple(difference for difference in differences if difference)
    if len(changed) <= EXACT:
        return _sign_flip_p(changed)
    return max(_t_test_p(differences), 2.0 ** (1 - len(changed)))


@lru_cache(maxsize=4096)
def _sign_flip_p(differences: tuple[float, ...]) -> float:
    """The share of sign assignments whose sum is as far from zero as the observed one."""
    if not differences:
        return 1.0
    sums = [differences[0]]  # the other sign of the first difference only mirrors the sums
    for difference in differences[1:]:
        sums = [value + difference for value in sums] + [value - difference for value in sums]
    limit = abs(sum(differences)) - _TOLERANCE * sum(map(abs, differences))
    return sum(abs(value) >= limit for value in sums) / len(sums)


def _t_test_p(differences: Sequence[float]) -> float:
    n = len(differences)
    mean = math.fsum(differences) / n
    spread = math.sqrt(math.fsum((value - mean) * (value - mean) for value in differences) / (n - 1))
    if spread <= _TOLERANCE * abs(mean):
        return 0.0
    return two_sided_p(mean / spread * math.sqrt(n), n - 1)
