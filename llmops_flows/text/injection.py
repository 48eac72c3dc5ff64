"""Scores how strongly a text looks like a prompt injection, by weighted patterns.

The patterns describe kinds of attacks in several languages, so that they do not overfit one data set.
`benchmarks/guards.py` prints recall and false positive rates on several data sets.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SIGNS_FILE = Path(__file__).parent / "injection_signs.txt"
_HIDDEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\U000e0000-\U000e007f]")
_COMMAND = re.compile(r"\byou (?:must|will|shall|should|can(?:not|'t)?|are|have to|need to|always|never|do not)\b")


@dataclass(frozen=True, slots=True)
class InjectionSign:
    """A match of a pattern, with its position and weight. A total weight of 1 is a likely attack."""

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
    """The text in NFKC, with straight quotes and without invisible characters."""
    folded = unicodedata.normalize("NFKC", _HIDDEN.sub("", text))
    return folded.replace("\u2019", "'").replace("\u2018", "'")


def find_signs(text: str) -> list[InjectionSign]:
    """The first match of each pattern, in the order of the text. Positions refer to `visible_text(text)`."""
    visible = visible_text(text)
    signs = []
    for what, weight, pattern in _patterns():
        match = pattern.search(visible)
        if match:
            signs.append(InjectionSign(what, match.start(), match.end(), weight))
    commands = [match.start() for match in _COMMAND.finditer(visible.lower())]
    if len(commands) >= 5:
        signs.append(InjectionSign("contains many commands", commands[0], len(visible), min(1.0, len(commands) / 10)))
    return sorted(signs, key=lambda sign: sign.start)


def injection_score(text: str) -> float:
    """The total weight of the signs: 0 for none; 1 or more is a likely attack."""
    return sum(sign.weight for sign in find_signs(text))
