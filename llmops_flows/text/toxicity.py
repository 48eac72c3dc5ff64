"""Toxicity of a text by the words in it, each with a weight (toxic_words.txt says where they come from)."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

WEIGHTS_FILE = Path(__file__).parent / "toxic_words.txt"
_WORD = re.compile(r"\w\w+")
_HALF = 2.5
_DILUTION = 0.02


@cache
def _weights() -> dict[str, float]:
    lines = WEIGHTS_FILE.read_text("utf-8").splitlines()
    return {word: float(weight) for word, weight in (line.split() for line in lines if not line.startswith("#"))}


def toxicity_score(text: str) -> float:
    """From 0 (nothing) towards 1: the weights of the text's distinct words, diluted by its length."""
    found = _WORD.findall(text.lower())
    weights = _weights()
    heavy = sum(weights.get(word, 0.0) for word in set(found)) / (1 + _DILUTION * len(found))
    return heavy / (heavy + _HALF)
