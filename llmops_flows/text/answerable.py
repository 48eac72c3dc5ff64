"""Estimates from words whether documents can answer a question."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache

from llmops_flows.core.record import Document

from .heading import indexed_text
from .words import content_words, stem

_QUESTION_WORDS = """
    able accord according action additional another answer ask aspect aware bit certain clarify confused consider
    consideration considered current describe described detail difference different document elsewhere ensure entail
    every everything exactly example explain friend general get give given go going happen handle hear heard help hi
    idea important include included including information instead involve item keep key kind know like list little
    long main make making many mean meaning means meant mention mentioned much name need number often one oops other
    others overview part please pls point possible potential process provide purpose question reason regard regarding
    role saying see seeing sense several showing sorry specific step summary take taking talk tell term text thank
    thanks thing think tip told trying type typical typically understand understood upon use used using various want
    way work works working
    against among before between during per separately through together under versus via vs while within without
"""
_NAME = re.compile(r"(?<=[\w,;:)] )[\"'(]?([A-Z][\w-]*|\d[\w.,%$-]*)")
_ROOT_LENGTH = 5


@cache
def _question_stems() -> frozenset[str]:
    return frozenset(stem(word) for word in _QUESTION_WORDS.split())


def topic_words(question: str) -> list[str]:
    """The content words of a question, without words such as `explain` that do not name a topic."""
    return list(dict.fromkeys(word for word in content_words(question) if word not in _question_stems()))


def word_roots(texts: Iterable[str]) -> set[str]:
    """The first letters of the content words, so that `limit` and `limitation` are the same."""
    return {root for text in texts for root in _roots(text)}


@lru_cache(maxsize=512)
def _roots(text: str) -> frozenset[str]:
    """Cached, since the same passages are checked for many questions and sentences."""
    return frozenset(_root(word) for word in content_words(text))


def root_coverage(words: Sequence[str], roots: set[str]) -> float:
    """Share of the words whose root is among `roots`; 1 for no words."""
    return sum(_root(word) in roots for word in words) / len(words) if words else 1.0


def topic_coverage(question: str, documents: Sequence[Document], *, one_passage: bool = False) -> float:
    """Share of the question's topic words that the documents contain; 1 for a question without any.

    With `one_passage`, the share of the best document instead of all documents together.
    """
    topic = topic_words(question)
    if not topic:
        return 1.0
    texts = [indexed_text(document) for document in documents]
    if one_passage:
        return max((root_coverage(topic, word_roots([text])) for text in texts), default=0.0)
    return root_coverage(topic, word_roots(texts))


def unknown_names(question: str, documents: Sequence[Document]) -> list[str]:
    """Names and numbers in the question that no document contains."""
    known = word_roots(indexed_text(document) for document in documents)
    names = [match[1] for match in _NAME.finditer(question)]
    return [
        name for name in names if (parts := content_words(name)) and not any(_root(part) in known for part in parts)
    ]


def _root(word: str) -> str:
    return word[:_ROOT_LENGTH]
