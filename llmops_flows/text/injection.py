"""Prompt injection: how strongly a text tries to give a model other orders, from signs that add up.

A detector made for one set of attacks fails on the next: the signs are ways of attacking, in several languages, not
words of a set, and `benchmarks/guards.py` prints recall and false alarms on several sets.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SIGNS_FILE = Path(__file__).parent / "injection_signs.txt"
_HIDDEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\U000e0000-\U000e007f]")
_ORDERING = re.compile(r"\byou (?:must|will|shall|should|can(?:not|'t)?|are|have to|need to|always|never|do not)\b")


@dataclass(frozen=True, slots=True)
class InjectionSign:
    """One thing that speaks for an attack: what it does, where it stands, how much it counts (1 suffices)."""

    what: str
    start: int
    end: int
    weight: float


@cache
def _patterns() -> tuple[tuple[str, float, re.Pattern[str]], ...]:
    lines = SIGNS_FILE.read_text("utf-8").splitlines()
    parts = [line.split(" ; ", 2) for line in lines if line and not line.startswith("#")]
    return tuple((what, float(weight), re.compile(pattern, re.IGNORECASE)) for what, weight, pattern in parts)


def visible_text(text: str) -> str:
    """The text as a model reads it: compatibility forms folded, curly quotes straight, hidden characters gone."""
    folded = unicodedata.normalize("NFKC", _HIDDEN.sub("", text))
    return folded.replace("\u2019", "'").replace("\u2018", "'")


def find_signs(text: str) -> list[InjectionSign]:
    """What speaks for an attack, at most one sign of each pattern, in the order of the text.

    Positions are those of `visible(text)`.
    """
    seen = visible_text(text)
    found = []
    for what, weight, pattern in _patterns():
        match = pattern.search(seen)
        if match:
            found.append(InjectionSign(what, match.start(), match.end(), weight))
    ordering = [match.start() for match in _ORDERING.finditer(seen.lower())]
    if len(ordering) >= 5:
        found.append(InjectionSign("orders about", ordering[0], len(seen), min(1.0, len(ordering) / 10)))
    return sorted(found, key=lambda sign: sign.start)


def injection_score(text: str) -> float:
    """How strongly a text looks like a prompt injection: 0 not at all, 1 and more surely."""
    return sum(sign.weight for sign in find_signs(text))
