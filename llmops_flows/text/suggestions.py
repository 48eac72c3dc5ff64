"""Suggestions for misspelled names: the nearest valid ones, and all choices."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def nearest(name: str, choices: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The choice that is most similar to `name`; None if no choice is similar."""
    similar = _similar(name, list(choices), cutoff)
    return similar[0] if similar else None


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """The hint for an unknown name: similar choices, then all choices."""
    listed = sorted(choices)
    guesses = [repr(guess) for guess in _similar(name, listed, 0.6)]
    known = ", ".join(listed) if listed else "none"
    return (f"did you mean {' or '.join(guesses)}? " if guesses else "") + f"choose from: {known}"


def unknown_reference_hint(name: str, known: Iterable[str]) -> str:
    """The hint for a reference to an unknown name: the reference or the name itself may be misspelled."""
    listed = sorted(known)
    guesses = [repr(guess) for guess in _similar(name, listed, 0.6)]
    if not guesses:
        return f"choose from: {', '.join(listed) or 'none'}"
    return f"did you mean {' or '.join(guesses)}, or should that be {name!r}? choose from: {', '.join(listed)}"


def _similar(name: str, choices: Sequence[str], cutoff: float) -> list[str]:
    """The choices that differ from `name` by one typo, or else the most similar choice."""
    if len(name) > 100:
        return []
    misspelled = [choice for choice in choices if _is_typo(name, choice)]
    return misspelled[:4] if misspelled else difflib.get_close_matches(name, choices, n=1, cutoff=cutoff)


def _is_typo(name: str, choice: str) -> bool:
    """Whether the names differ by one letter that is missing, added, wrong or swapped with the next."""
    if abs(len(name) - len(choice)) > 1 or name == choice or (len(choice) < 2 and choice not in name):
        return False
    start = next((n for n, (a, b) in enumerate(zip(name, choice, strict=False)) if a != b), min(len(name), len(choice)))
    first, second = name[start:], choice[start:]
    swapped = first[:2] == second[1::-1] and first[2:] == second[2:]
    return first[1:] == second[1:] or first[1:] == second or first == second[1:] or swapped
