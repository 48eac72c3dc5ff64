"""Splits text into stemmed content words and into sentences."""

from __future__ import annotations

import re
from functools import lru_cache

_CAMEL = re.compile(r"([a-z])([A-Z])")
_WORD = re.compile(r"[^\W_]+")
_SENTENCE = re.compile(
    r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]*[A-Z0-9])|(?<=[a-z][.!?])(?=[A-Z][a-z])|\n\s*\n|\n(?=[-*#•])"
)

_STOPWORDS = """
    a about also an and any are as at be been being but by can could did do does for from had has have how i if
    in into is it its may me my of on or our shall should so such than that the their them then there these they
    this those to was we were what when where which while who whom whose why will with would you your
"""
STOPWORDS = frozenset(_STOPWORDS.split())


def content_words(text: str) -> list[str]:
    """The stems of the words that are not stop words, in lower case, in order."""
    split = _CAMEL.sub(r"\1 \2", text).lower()
    return [stem(word) for word in _WORD.findall(split) if word not in STOPWORDS]


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """A word without plural, -ing and -ed endings."""
    if len(word) > 4 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif len(word) > 4 and word.endswith("sses"):
        word = word[:-2]
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            word = word[: -len(ending)]
            if word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    return word[:-1] if len(word) > 4 and word.endswith("e") else word


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, stripped. Headings and list items are sentences of their own."""
    return [piece for piece in (part.strip() for part in _SENTENCE.split(text)) if piece]
