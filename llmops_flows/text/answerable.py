"""Whether documents speak of what a question asks, by words: what they do not name, they do not answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache

from llmops_flows.core.record import Document

from .heading import indexed_text
from .words import content_words, stem

_FRAME = """
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
_ROOT = 5


@cache
def _frame() -> frozenset[str]:
    return frozenset(stem(word) for word in _FRAME.split())


def topic_words(question: str) -> list[str]:
    """What a question is about: its content words without those that only ask."""
    return list(dict.fromkeys(word for word in content_words(question) if word not in _frame()))


def word_roots(texts: Iterable[str]) -> set[str]:
    """The beginnings of the content words: long words that begin alike count as one (limit, limitation)."""
    return {root for text in texts for root in _roots(text)}


@lru_cache(maxsize=512)
def _roots(text: str) -> frozenset[str]:
    """Passages come again, with other questions and other sentences of an answer."""
    return frozenset(_root(word) for word in content_words(text))


def root_coverage(share: Sequence[str], have: set[str]) -> float:
    """Share of the words whose root is there; 1 for no words."""
    return sum(_root(word) in have for word in share) / len(share) if share else 1.0


def topic_coverage(question: str, documents: Sequence[Document], *, one_passage: bool = False) -> float:
    """Share of the question's topic that the documents name, all together or the best one alone; 1 without topic."""
    asked = topic_words(question)
    if not asked:
        return 1.0
    texts = [indexed_text(document) for document in documents]
    if one_passage:
        return max((root_coverage(asked, word_roots([text])) for text in texts), default=0.0)
    return root_coverage(asked, word_roots(texts))


def unknown_names(question: str, documents: Sequence[Document]) -> list[str]:
    """Names and numbers in the question that stand in no document."""
    have = word_roots(indexed_text(document) for document in documents)
    found = [match[1] for match in _NAME.finditer(question)]
    return [name for name in found if (parts := content_words(name)) and not any(_root(part) in have for part in parts)]


def _root(word: str) -> str:
    return word[:_ROOT]
