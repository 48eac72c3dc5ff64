"""What texts can be checked for without a library: refusals, support by the context, closeness to the question."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence

from llmops_flows.core.record import Document

from .words import STOPWORDS, content_words, split_sentences

REFUSAL = "I don't know: the documents do not say."

_BEGINNING = 400
_REFUSALS = (
    r"\b(?:i|we) (?:really |simply )?(?:do not|don't|did not|didn't) (?:know|have)\b"
    r"|\b(?:i|we) (?:really |simply )?(?:can ?not|can't|could not|couldn't|will not|won't|must (?:decline|refuse))\b"
    r"|\b(?:i am|i'm|we are|we're) (?:(?:very |really |so )?sorry|unable|not (?:sure|able|aware|comfortable))\b"
    r"|\bi (?:strongly )?advise against\b"
    r"|\b(?:documents?|sources?|context|passages?|excerpts?|information(?: provided)?) (?:do|does)(?: not|n't)"
    r" (?:say|contain|mention|provide|specify|state|address)"
    r"|\bno (?:relevant |specific )?information\b|\b(?:insufficient|not enough) information\b"
    r"|\bnot (?:mentioned|specified|stated|found) in\b"
)
_CURLY = str.maketrans({chr(0x2019): "'", chr(0x2018): "'"})
_NEGATION = re.compile(r"\b(?:not|no|never|none|nor|neither|nothing|without|cannot|[a-z]+n't)\b", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")
_CITATION = re.compile(r"\[[^\]\n]{1,200}\]")
_MARK = re.compile(r"^[ \t]*(?:\d{1,2}[.)]|[-*•])[ \t]+", re.MULTILINE)
_ALONE = re.compile(r"([\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])")  # scripts without spaces
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_COUNTS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen twenty"""
_SPELLED = {word: str(number) for number, word in enumerate(_COUNTS.split())}
_SPEAKERS = frozenset(("i", "me", "my", "we", "us", "our", "you", "your"))


def is_refusal(answer: str) -> bool:
    """Whether an answer says that it does not answer. Only how it begins counts (its first 400 characters)."""
    return not answer.strip() or re.search(_REFUSALS, answer[:_BEGINNING].translate(_CURLY), re.IGNORECASE) is not None


def terms(text: str) -> list[str]:
    """`words`, where scripts without spaces count sign by sign, and invisible characters do not count."""
    return content_words(_ALONE.sub(r" \1 ", _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))))


def numbers(text: str) -> set[str]:
    """The numbers that a text writes in digits, in one form: `1,000.50` is 1000.5."""
    found = (written.replace(",", "") for written in _NUMBER.findall(text))
    return {n.rstrip("0").rstrip(".") if "." in n else n for n in found}


def negates(text: str) -> bool:
    """Whether a text says no, not, never or the like."""
    return _NEGATION.search(text.translate(_CURLY)) is not None


def claims(answer: str) -> list[str]:
    """The sentences of an answer, without citations in brackets and the marks of lists."""
    return split_sentences(_MARK.sub("", _CITATION.sub("", answer)))


def word_coverage(text: str, by: str) -> float | None:
    """Share of the text's distinct content words that the other text has too; None for a text without any."""
    return _share(set(terms(text)), set(terms(by)))


def support_score(answer: str, documents: Sequence[Document]) -> float | None:
    """How well the documents support an answer: the mean over its sentences; None for an answer without words.

    A sentence counts for the share of its words that the documents have. One with a number that they do not have
    is not supported at all; one that denies what the nearest sentence of the documents affirms counts half.
    """
    texts = [document["page_content"] for document in documents]
    counted = {number for text in texts for number in numbers(text) | _spelled(text)}
    have = counted.union(*map(_said, texts))
    known = [(set(terms(sentence)), negates(sentence)) for text in texts for sentence in split_sentences(text)]
    shares = []
    for claim in claims(answer):
        share = _share(_said(claim), have)
        if share is None:
            continue
        if not numbers(claim) <= counted:
            share = 0.0
        elif negates(claim) and not _nearest(claim, known)[1]:
            share /= 2
        shares.append(share)
    return sum(shares) / len(shares) if shares else None


def contradicts(answer: str, reference: str) -> bool:
    """Whether an answer puts another number in the place of the reference's, or turns one of its sentences round."""
    given, wanted = numbers(answer), numbers(reference)
    if given - wanted - _spelled(reference) and wanted - given - _spelled(answer):
        return True
    known = [(set(terms(sentence)), negates(sentence)) for sentence in claims(reference)]
    for claim in claims(answer):
        near, denied = _nearest(claim, known)
        if denied != negates(claim) and near and len(near & set(terms(claim))) >= _SAME * len(near):
            return True
    return False


_SAME = 0.75
"""Two sentences speak of the same thing when so many of the words of one are in the other."""


def question_coverage(question: str, documents: Sequence[Document]) -> float | None:
    """Share of the question's content words that the documents have."""
    return word_coverage(question, " ".join(document["page_content"] for document in documents))


def _said(text: str) -> set[str]:
    """The words that a claim is held to: content words, and who speaks to whom."""
    spoken = {word for word in re.findall(r"[a-z]+", text.lower()) if word in _SPEAKERS and word in STOPWORDS}
    return {*terms(text), *spoken}


def _spelled(text: str) -> set[str]:
    return {_SPELLED[word] for word in re.findall(r"[a-z]+", text.lower()) if word in _SPELLED}


def _share(wanted: Collection[str], have: Collection[str]) -> float | None:
    return sum(word in have for word in wanted) / len(wanted) if wanted else None


def _nearest(claim: str, known: Sequence[tuple[set[str], bool]]) -> tuple[set[str], bool]:
    """Words and polarity of the sentence that shares most words with the claim (the first of equals)."""
    wanted = set(terms(claim))
    return max(known, key=lambda sentence: len(wanted & sentence[0]), default=(set(), False))
