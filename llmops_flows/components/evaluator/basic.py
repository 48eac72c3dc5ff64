"""Evaluators that need no language model: word overlap, retrieval ranks against gold pages, right refusals."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

from llmops_flows.core.record import Document
from llmops_flows.core.roles import Evaluator
from llmops_flows.core.stage import Positive
from llmops_flows.text.overlap import contradicts, is_refusal, question_coverage, support_score, terms, word_coverage

Scores = dict[str, float | None]


class ContextRelevance(Evaluator):
    """context_relevance: share of the question's content words that the context has."""

    version: ClassVar[int] = 2
    inline: ClassVar[bool] = True

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("context_relevance",)

    def run(
        self, question: str, documents: list[Document] | None = None, context: list[Document] | None = None
    ) -> Scores:
        found = context if context is not None else documents
        asked = require_text(question, "question")
        return {"context_relevance": None if found is None else question_coverage(asked, require_passages(found))}


class Groundedness(Evaluator):
    """groundedness: how far the passages have the words of the answer's sentences, numbers and negations matching.

    A refusal claims nothing, and has none; without passages there is nothing to be grounded in.
    """

    version: ClassVar[int] = 2
    inline: ClassVar[bool] = True

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("groundedness",)

    def run(self, answer: str, documents: list[Document] | None = None) -> Scores:
        said = require_text(answer, "answer")
        if not documents or is_refusal(said):
            return {"groundedness": None}
        return {"groundedness": support_score(said, require_passages(documents))}


class AnswerRelevance(Evaluator):
    """answer_relevance: share of the question's content words that the answer takes up. A refusal takes up none."""

    version: ClassVar[int] = 2
    inline: ClassVar[bool] = True

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("answer_relevance",)

    def run(self, question: str, answer: str) -> Scores:
        asked, said = require_text(question, "question"), require_text(answer, "answer")
        if not said.strip():
            return {"answer_relevance": None}
        return {"answer_relevance": 0.0 if is_refusal(said) else word_coverage(asked, said)}


class Correctness(Evaluator):
    """Against the reference answer: answer_correctness (F1 of content words), answer_recall (reference covered).

    An answer that contradicts the reference (another number, or a sentence turned round) has half of both. One that
    says nothing is not correct: it has 0, as in SQuAD.
    """

    version: ClassVar[int] = 2
    inline: ClassVar[bool] = True

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("answer_correctness", "answer_recall")

    def run(self, answer: str, reference: str | None = None) -> Scores:
        said, right = require_text(answer, "answer"), require_text(reference, "reference")
        given, wanted = Counter(terms(said)), Counter(terms(right))
        if not wanted:
            return {"answer_correctness": None, "answer_recall": None}
        common = sum((given & wanted).values())
        if not common or (is_refusal(said) and not is_refusal(right)):
            return {"answer_correctness": 0.0, "answer_recall": 0.0}
        precision, recall = common / sum(given.values()), common / sum(wanted.values())
        trust = 0.5 if contradicts(said, right) else 1.0
        found = 2 * precision * recall / (precision + recall)
        return {"answer_correctness": trust * found, "answer_recall": trust * recall}


class RetrievalMetrics(Evaluator):
    """Ranks of the gold pages among the passages: hit, recall, mrr, ndcg, each at k (of passages, best first).

    A page counts once, at its best rank; passages of one page that follow do not push others down. Gold without a
    page (`handbook.md`) is met by any page of that file. nDCG is binary: its ideal puts all gold pages first, as far
    as k reaches. Questions without gold say nothing; an empty list of passages found nothing.

    Attributes:
        k: how far down the list one looks; None for all of it.
    """

    version: ClassVar[int] = 2
    inline: ClassVar[bool] = True
    k: Positive | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("hit", "recall", "mrr", "ndcg")

    def run(self, documents: list[Document] | None = None, gold: list[str] | None = None) -> Scores:
        wanted = _gold(gold)
        if not wanted or documents is None:
            return {"hit": None, "recall": None, "mrr": None, "ndcg": None}
        names = [str(document["id"]) for document in documents[: self.k]]
        pages = list(dict.fromkeys(_page(name, wanted) for name in names))
        ranks = [rank for rank, page in enumerate(pages, 1) if page in wanted]
        reach = len(wanted) if self.k is None else min(len(wanted), self.k)
        return {
            "hit": 1.0 if ranks else 0.0,
            "recall": len(ranks) / len(wanted),
            "mrr": 1 / ranks[0] if ranks else 0.0,
            "ndcg": sum(map(_gain, ranks)) / sum(map(_gain, range(1, reach + 1))),
        }


class RefusalMetrics(Evaluator):
    """right_refusal: refused what cannot be answered. over_refusal: refused what can (lower is better).

    An answer that says nothing at all is neither.
    """

    version: ClassVar[int] = 2
    inline: ClassVar[bool] = True

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("right_refusal", "over_refusal")

    def run(self, answer: str, answerable: bool | None = None) -> Scores:
        said = require_text(answer, "answer")
        refused = None if not said.strip() else float(is_refusal(said))
        return {
            "right_refusal": refused if answerable is False else None,
            "over_refusal": refused if answerable is True else None,
        }


def require_text(value: Any, slot: str) -> str:
    """A slot's text; a finite number as it is written, nothing for None.

    Raises:
        TypeError: it is something else, which has no words to score.
    """
    if value is None:
        return ""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if not isinstance(value, str):
        raise TypeError(f"the {slot} must be text to be scored; it is {value!r}")
    return value


def require_passages(value: Any) -> Sequence[Document]:
    """The passages of a slot. Raises TypeError for anything but a list of documents."""
    if isinstance(value, list) and all(isinstance(d, dict) and isinstance(d.get("page_content"), str) for d in value):
        return value
    raise TypeError(f"documents must be a list of passages with `page_content`; they are {value!r:.200}")


def _gold(value: Any) -> frozenset[str]:
    if value is None or (isinstance(value, list) and all(isinstance(name, str) for name in value)):
        return frozenset(value or ())
    raise TypeError(f"gold must be a list of page ids; it is {value!r}")


def _page(name: str, gold: frozenset[str]) -> str:
    """The page that a passage is part of; its file, where the gold names no pages of it."""
    page = re.sub(r"[&#]part=\d+$", "", name)
    return page if page in gold else max((file for file in gold if page.startswith(f"{file}#")), default=page)


def _gain(rank: int) -> float:
    return 1 / math.log2(rank + 1)
