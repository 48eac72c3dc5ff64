"""Evaluators that need no language model: word overlap, retrieval ranks against gold pages, right refusals."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import ClassVar

from llmops_flows.core.record import Document
from llmops_flows.core.stage import Positive

from .checks import closeness, coverage, is_refusal, support
from .roles import Evaluator
from .words import words

Scores = dict[str, float | None]


class Relevance(Evaluator):
    """context_relevance: share of the question's content words that the context has."""

    inline: ClassVar[bool] = True

    def run(
        self, question: str, documents: list[Document] | None = None, context: list[Document] | None = None
    ) -> Scores:
        found = context if context is not None else documents
        return {"context_relevance": None if found is None else closeness(question, found)}


class Groundedness(Evaluator):
    """groundedness: how far the passages have the words of the answer's sentences. A refusal has none."""

    inline: ClassVar[bool] = True

    def run(self, answer: str, documents: list[Document] | None = None) -> Scores:
        if documents is None or is_refusal(answer):
            return {"groundedness": None}
        return {"groundedness": support(answer, documents)}


class AnswerRelevance(Evaluator):
    """answer_relevance: share of the question's content words that the answer takes up. A refusal takes up none."""

    inline: ClassVar[bool] = True

    def run(self, question: str, answer: str) -> Scores:
        return {"answer_relevance": 0.0 if is_refusal(answer) else coverage(question, answer)}


class Correctness(Evaluator):
    """Against the reference answer: answer_correctness (F1 of content words), answer_recall (reference covered)."""

    inline: ClassVar[bool] = True

    def run(self, answer: str, reference: str | None = None) -> Scores:
        if reference is None:
            return {"answer_correctness": None, "answer_recall": None}
        given, wanted = Counter(words(answer)), Counter(words(reference))
        common = sum((given & wanted).values())
        if is_refusal(answer) or not common:
            return {"answer_correctness": 0.0, "answer_recall": 0.0}
        precision, recall = common / sum(given.values()), common / sum(wanted.values())
        return {"answer_correctness": 2 * precision * recall / (precision + recall), "answer_recall": recall}


class Retrieval(Evaluator):
    """Ranks of the gold pages among the passages: hit@k, recall@k, mrr, ndcg@k. Pages count once, at their best rank.

    Attributes:
        k: how far down the list one looks; None for all of it.
    """

    inline: ClassVar[bool] = True
    k: Positive | None = None

    def run(self, documents: list[Document] | None = None, gold: list[str] | None = None) -> Scores:
        if not gold or documents is None:
            return {"hit": None, "recall": None, "mrr": None, "ndcg": None}
        pages = list(dict.fromkeys(_page(document["id"]) for document in documents[: self.k]))
        ranks = [rank for rank, page in enumerate(pages, 1) if page in set(gold)]
        ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(len(set(gold)), max(len(pages), 1)) + 1))
        return {
            "hit": 1.0 if ranks else 0.0,
            "recall": len(ranks) / len(set(gold)),
            "mrr": 1 / ranks[0] if ranks else 0.0,
            "ndcg": sum(1 / math.log2(rank + 1) for rank in ranks) / ideal,
        }


class Refusals(Evaluator):
    """right_refusal: refused what cannot be answered. over_refusal: refused what can (lower is better)."""

    inline: ClassVar[bool] = True

    def run(self, answer: str, answerable: bool | None = None) -> Scores:
        refused = 1.0 if is_refusal(answer) else 0.0
        return {
            "right_refusal": refused if answerable is False else None,
            "over_refusal": refused if answerable is True else None,
        }


def _page(name: str) -> str:
    return re.sub(r"[&#]part=\d+$", "", name)
