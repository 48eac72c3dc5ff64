"""Suggestions for misspelled names: the nearest valid ones, and all choices."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def nearest(name: str, choices: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The choice that `name` was most likely meant to be, or None when none is near."""
    found = _near(name, list(choices), cutoff)
    return found[0] if found else None


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """How to mend an unknown name: the nearest valid ones, and all that were possible."""
    listed = sorted(choices)
    guesses = [repr(guess) for guess in _near(name, listed, 0.6)]
    known = ", ".join(listed) if listed else "none"
    return (f"did you mean {' or '.join(guesses)}? " if guesses else "") + f"choose from: {known}"


def unknown_reference_hint(name: str, known: Iterable[str]) -> str:
    """How to mend a reference to a name that is not there: it, or the name it should lead to, is misspelt."""
    listed = sorted(known)
    guesses = [repr(guess) for guess in _near(name, listed, 0.6)]
    if not guesses:
        return f"choose from: {', '.join(listed) or 'none'}"
    return f"did you mean {' or '.join(guesses)}, or should that be {name!r}? choose from: {', '.join(listed)}"


def _near(name: str, choices: Sequence[str], cutoff: float) -> list[str]:
    """The choices that one typing mistake turns into `name`; failing that, the one that resembles it most."""
    if len(name) > 100:
        return []
    slips = [choice for choice in choices if _one_slip(name, choice)]
    return slips[:4] if slips else difflib.get_close_matches(name, choices, n=1, cutoff=cutoff)


def _one_slip(name: str, choice: str) -> bool:
    """Whether the two differ by one letter that is missing, too many, wrong or swapped with its neighbor."""
    if abs(len(name) - len(choice)) > 1 or name == choice or (len(choice) < 2 and choice not in name):
        return False
    start = next((n for n, (a, b) in enumerate(zip(name, choice, strict=False)) if a != b), min(len(name), len(choice)))
    one, other = name[start:], choice[start:]
    swapped = one[:2] == other[1::-1] and one[2:] == other[2:]
    return one[1:] == other[1:] or one[1:] == other or one == other[1:] or swapped
