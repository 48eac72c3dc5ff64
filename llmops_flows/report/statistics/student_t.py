"""Student's t distribution from the standard library, for runs on machines without SciPy.

docs/decisions/statistics.md says why. The tests compare it with SciPy.
"""

from __future__ import annotations

import math
from functools import cache

_TINY = 1e-300
_MAX_TERMS = 300
_PRECISION = 1e-15
_NORMAL_95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution, which every t distribution exceeds."""


@cache
def quantile_95(degrees: int) -> float:
    """The t with P(|T| < t) = 0.95, by Newton's method; degrees of freedom: 1 at least."""
    t = _NORMAL_95
    log_scale = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - math.log(degrees * math.pi) / 2
    while True:
        density = math.exp(log_scale - (degrees + 1) / 2 * math.log1p(t * t / degrees))
        step = (two_sided_p(t, degrees) - 0.05) / (2 * density)
        t += step
        if step <= 1e-13 * t:  # the tail is convex: the steps approach the quantile from below
            return t


def two_sided_p(t: float, degrees: float) -> float:
    """The probability of |T| >= |t|; degrees of freedom: more than 0."""
    if math.isinf(t):
        return 0.0
    return _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t), t * t / (degrees + t * t))


def _incomplete_beta(a: float, b: float, x: float, rest: float) -> float:
    """The regularized incomplete beta function I_x(a, b). `rest` is 1 - x, which keeps its digits where x is near 1."""
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest))
    if x < (a + 1) / (a + b + 2):
        return front * _continued_fraction(a, b, x) / a
    return 1 - front * _continued_fraction(b, a, rest) / b


def _continued_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method."""
    c, d = 1.0, 1 / _nonzero(1 - (a + b) * x / (a + 1))
    value = d
    for n in range(1, _MAX_TERMS):
        for term in (
            n * (b - n) * x / ((a + 2 * n - 1) * (a + 2 * n)),
            -(a + n) * (a + b + n) * x / ((a + 2 * n) * (a + 2 * n + 1)),
        ):
            d = 1 / _nonzero(1 + term * d)
            c = _nonzero(1 + term / c)
            value *= d * c
        if abs(d * c - 1) < _PRECISION:
            break
    return value


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
