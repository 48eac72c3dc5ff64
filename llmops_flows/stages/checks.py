"""What texts can be checked for without a library: refusals, support by the context, closeness to the question."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmops_flows.core.record import Document

from .words import sentences, words

REFUSAL = "I don't know: the documents do not say."

_REFUSALS = re.compile(
    r"\b(?:i|we) (?:do not|don't|did not|didn't) (?:know|have)\b|\b(?:i|we) (?:can ?not|can't|could not|couldn't)\b"
    r"|\b(?:i am|i'm|we are|we're) (?:sorry|unable|not (?:sure|able))\b"
    r"|\bdocuments? (?:do|does)(?: not|n't) (?:say|contain|mention)|\bno information\b"
    r"|\bnot (?:mentioned|specified) in\b",
    re.IGNORECASE,
)
_CURLY = str.maketrans({chr(0x2019): "'", chr(0x2018): "'"})


def is_refusal(answer: str) -> bool:
    """Whether an answer says that it does not answer. Only how it begins counts (its first 200 characters)."""
    return not answer.strip() or _REFUSALS.search(answer[:200].translate(_CURLY)) is not None


def coverage(text: str, by: str) -> float | None:
    """Share of the text's distinct content words that the other text has too; None for a text without any."""
    wanted = set(words(text))
    return len(wanted & set(words(by))) / len(wanted) if wanted else None


def support(answer: str, documents: Sequence[Document]) -> float | None:
    """How well the documents support an answer: the mean over its sentences of how many of their words they have."""
    have = {word for document in documents for word in words(document["page_content"])}
    shares = []
    for sentence in sentences(answer):
        wanted = set(words(sentence))
        if wanted:
            shares.append(len(wanted & have) / len(wanted))
    return sum(shares) / len(shares) if shares else None


def closeness(question: str, documents: Sequence[Document]) -> float | None:
    """Share of the question's content words that the documents have."""
    return coverage(question, " ".join(document["page_content"] for document in documents))
