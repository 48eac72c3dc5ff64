"""Toxicity of a text by weighted words. toxic_words.txt names the source of the weights."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

WEIGHTS_FILE = Path(__file__).parent / "toxic_words.txt"
_WORD = re.compile(r"\w\w+")
_HALF = 2.5
"""Total weight at which the score is 0.5."""
_DILUTION = 0.02
"""Relative decrease of the total weight per word of the text."""


@cache
def _weights() -> dict[str, float]:
    lines = WEIGHTS_FILE.read_text("utf-8").splitlines()
    return {word: float(weight) for word, weight in (line.split() for line in lines if not line.startswith("#"))}


def toxicity_score(text: str) -> float:
    """Between 0 and 1: the total weight of the distinct words, diluted by the length of the text."""
    words = _WORD.findall(text.lower())
    weights = _weights()
    total = sum(weights.get(word, 0.0) for word in set(words)) / (1 + _DILUTION * len(words))
    return total / (total + _HALF)
