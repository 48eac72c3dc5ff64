"""Paired tests: how likely differences this large are when there is no difference, corrected for many looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .student import two_sided

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[Any]

EXACT = 14
"""Up to so many differences that are not zero, every assignment of signs is counted."""
_CELLS = 4_000_000
_SLACK = 1e-9


def p_values(differences: Floats) -> list[float]:
    """Two-sided p of each column of differences (questions x variants; NaN: not in both).

    Where few differences are not zero, the exact sign-flip permutation test; else the paired t test, which never
    claims more than the sign flips could.
    """
    import numpy as np

    there = np.isfinite(differences)
    filled = np.where(there, differences, 0.0)
    moved = (filled != 0).sum(axis=0)
    p = np.ones(differences.shape[1])
    for count in range(1, EXACT + 1):
        columns = np.flatnonzero(moved == count)
        if columns.size:
            kept = filled[:, columns]
            p[columns] = _sign_flips(kept.T[(kept != 0).T].reshape(columns.size, count))
    for column in np.flatnonzero(moved > EXACT):
        p[column] = max(_student(filled[there[:, column], column]), 2.0 ** (1 - int(moved[column])))
    return [float(value) for value in p]


def holm(p: Sequence[float | None]) -> list[float | None]:
    """p values corrected for their number by Holm's step-down method; None (no test) stays None."""
    order = sorted((value, n) for n, value in enumerate(p) if value is not None)
    found: list[float | None] = [None] * len(p)
    worst = 0.0
    for rank, (value, n) in enumerate(order):
        worst = max(worst, min(1.0, value * (len(order) - rank)))
        found[n] = worst
    return found


def _sign_flips(rows: Floats) -> Floats:
    """Share of all sign assignments whose sum is as far from zero as the one seen; rows: variants x differences."""
    import numpy as np

    count = rows.shape[1]
    flips = np.arange(2 ** (count - 1))[:, None] >> np.arange(count)[None, :]
    signs = 1.0 - 2.0 * (flips & 1)  # the last sign is always +: the other half mirrors this one
    step = max(1, _CELLS // len(signs))
    parts = []
    for first in range(0, len(rows), step):
        part = rows[first : first + step]
        slack = _SLACK * np.abs(part).sum(axis=1)
        parts.append((np.abs(signs @ part.T) >= np.abs(part.sum(axis=1)) - slack).mean(axis=0))
    return np.concatenate(parts)


def _student(differences: Floats) -> float:
    mean, spread = float(differences.mean()), float(differences.std(ddof=1))
    if spread <= _SLACK * abs(mean):
        return 0.0
    return two_sided(mean / spread * len(differences) ** 0.5, len(differences) - 1)
