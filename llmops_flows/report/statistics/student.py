"""Student's t distribution: the chance of a mean that far from zero, without an outside library."""

from __future__ import annotations

import math

_TINY = 1e-300
_STEPS = 300
_CLOSE = 1e-15


def two_sided(t: float, freedom: float) -> float:
    """The probability of |T| >= |t| for T with so many degrees of freedom (> 0)."""
    if math.isinf(t):
        return 0.0
    return incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t), t * t / (freedom + t * t))


def incomplete_beta(a: float, b: float, x: float, rest: float) -> float:
    """The regularised incomplete beta function I_x(a, b); `rest` is 1 - x, given apart for its digits near x = 1."""
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, rest) / b


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method."""
    c, d = 1.0, 1 / _far(1 - (a + b) * x / (a + 1))
    whole = d
    for n in range(1, _STEPS):
        for term in (
            n * (b - n) * x / ((a + 2 * n - 1) * (a + 2 * n)),
            -(a + n) * (a + b + n) * x / ((a + 2 * n) * (a + 2 * n + 1)),
        ):
            d = 1 / _far(1 + term * d)
            c = _far(1 + term / c)
            whole *= d * c
        if abs(d * c - 1) < _CLOSE:
            break
    return whole


def _far(value: float) -> float:
    """The value, kept off zero."""
    return value if abs(value) > _TINY else _TINY
