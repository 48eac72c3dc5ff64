"""Word overlap of answers, questions and documents: refusals, support, coverage, contradictions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence

from llmops_flows.core.record import Document

from .words import STOPWORDS, content_words, split_sentences

REFUSAL = "I don't know: the documents do not say."

_REFUSAL_LENGTH = 400
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
_STRAIGHT_QUOTES = str.maketrans({chr(0x2019): "'", chr(0x2018): "'"})
_NEGATION = re.compile(r"\b(?:not|no|never|none|nor|neither|nothing|without|cannot|[a-z]+n't)\b", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")
_CITATION = re.compile(r"\[[^\]\n]{1,200}\]")
_LIST_MARK = re.compile(r"^[ \t]*(?:\d{1,2}[.)]|[-*•])[ \t]+", re.MULTILINE)
_UNSPACED = re.compile(r"([\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])")  # scripts without spaces
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_COUNTS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen twenty"""
_SPELLED = {word: str(number) for number, word in enumerate(_COUNTS.split())}
_PRONOUNS = frozenset(("i", "me", "my", "we", "us", "our", "you", "your"))


def is_refusal(answer: str) -> bool:
    """Whether an answer is empty or declines to answer. Only its first 400 characters count."""
    return (
        not answer.strip()
        or re.search(_REFUSALS, answer[:_REFUSAL_LENGTH].translate(_STRAIGHT_QUOTES), re.IGNORECASE) is not None
    )


def terms(text: str) -> list[str]:
    """The content words of a text, with scripts without spaces split into characters."""
    return content_words(_UNSPACED.sub(r" \1 ", _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))))


def numbers(text: str) -> set[str]:
    """The numbers that are written in digits, normalized: `1,000.50` is 1000.5."""
    digits = (number.replace(",", "") for number in _NUMBER.findall(text))
    return {n.rstrip("0").rstrip(".") if "." in n else n for n in digits}


def negates(text: str) -> bool:
    """Whether a text contains a negation (not, no, never, ...)."""
    return _NEGATION.search(text.translate(_STRAIGHT_QUOTES)) is not None


def claims(answer: str) -> list[str]:
    """The sentences of an answer, without citations in brackets and list marks."""
    return split_sentences(_LIST_MARK.sub("", _CITATION.sub("", answer)))


def word_coverage(text: str, by: str) -> float | None:
    """Share of the text's distinct content words that `by` contains too; None for a text without any."""
    return _share(set(terms(text)), set(terms(by)))


def support_score(answer: str, documents: Sequence[Document]) -> float | None:
    """How well the documents support an answer: the mean over its sentences; None for an answer without words.

    A sentence scores the share of its words that the documents contain: 0 if they lack one of its numbers, half if
    it negates what the most similar sentence of the documents affirms.
    """
    texts = [document["page_content"] for document in documents]
    known_numbers = {number for text in texts for number in numbers(text) | _spelled(text)}
    known_words = known_numbers.union(*map(_claim_words, texts))
    sentences = [(set(terms(sentence)), negates(sentence)) for text in texts for sentence in split_sentences(text)]
    shares = []
    for claim in claims(answer):
        share = _share(_claim_words(claim), known_words)
        if share is None:
            continue
        if not numbers(claim) <= known_numbers:
            share = 0.0
        elif negates(claim) and not _nearest(claim, sentences)[1]:
            share /= 2
        shares.append(share)
    return sum(shares) / len(shares) if shares else None


def contradicts(answer: str, reference: str) -> bool:
    """Whether an answer has another number than the reference, or exactly one of two similar sentences is negated."""
    actual, expected = numbers(answer), numbers(reference)
    if actual - expected - _spelled(reference) and expected - actual - _spelled(answer):
        return True
    sentences = [(set(terms(sentence)), negates(sentence)) for sentence in claims(reference)]
    for claim in claims(answer):
        words, negated = _nearest(claim, sentences)
        if negated != negates(claim) and words and len(words & set(terms(claim))) >= _SAME_SUBJECT * len(words):
            return True
    return False


_SAME_SUBJECT = 0.75
"""Minimum share of common words of two sentences about the same subject."""


def question_coverage(question: str, documents: Sequence[Document]) -> float | None:
    """Share of the question's content words that the documents contain."""
    return word_coverage(question, " ".join(document["page_content"] for document in documents))


def _claim_words(text: str) -> set[str]:
    """The words of a claim that must be supported: content words and personal pronouns."""
    pronouns = {word for word in re.findall(r"[a-z]+", text.lower()) if word in _PRONOUNS and word in STOPWORDS}
    return {*terms(text), *pronouns}


def _spelled(text: str) -> set[str]:
    return {_SPELLED[word] for word in re.findall(r"[a-z]+", text.lower()) if word in _SPELLED}


def _share(words: Collection[str], known: Collection[str]) -> float | None:
    return sum(word in known for word in words) / len(words) if words else None


def _nearest(claim: str, sentences: Sequence[tuple[set[str], bool]]) -> tuple[set[str], bool]:
    """The words of the sentence with the most words in common with the claim, and whether it negates."""
    words = set(terms(claim))
    return max(sentences, key=lambda sentence: len(words & sentence[0]), default=(set(), False))
