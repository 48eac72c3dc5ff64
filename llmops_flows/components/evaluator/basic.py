"""`evaluator=basic`: word overlap, retrieval ranks against gold pages, and refusals, without a language model."""

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
    """context_relevance: share of the question's content words in the context."""

    version: ClassVar[int] = 2
    inline: ClassVar[bool] = True

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("context_relevance",)

    def run(
        self, question: str, documents: list[Document] | None = None, context: list[Document] | None = None
    ) -> Scores:
        passages = context if context is not None else documents
        question = require_text(question, "question")
        return {
            "context_relevance": None if passages is None else question_coverage(question, require_passages(passages))
        }


class Groundedness(Evaluator):
    """groundedness: how well the passages support the answer's sentences in words, numbers and negations.

    It is None for a refusal, and without passages.
    """

    version: ClassVar[int] = 2
    inline: ClassVar[bool] = True

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("groundedness",)

    def run(self, answer: str, documents: list[Document] | None = None) -> Scores:
        answer = require_text(answer, "answer")
        if not documents or is_refusal(answer):
            return {"groundedness": None}
        return {"groundedness": support_score(answer, require_passages(documents))}


class AnswerRelevance(Evaluator):
    """answer_relevance: share of the question's content words in the answer; 0 for a refusal."""

    version: ClassVar[int] = 2
    inline: ClassVar[bool] = True

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("answer_relevance",)

    def run(self, question: str, answer: str) -> Scores:
        question, answer = require_text(question, "question"), require_text(answer, "answer")
        if not answer.strip():
            return {"answer_relevance": None}
        return {"answer_relevance": 0.0 if is_refusal(answer) else word_coverage(question, answer)}


class Correctness(Evaluator):
    """answer_correctness (F1 of content words) and answer_recall, compared with the reference answer.

    Both are halved if the answer contradicts the reference (another number, or a negated sentence). An empty answer
    scores 0, as in SQuAD.
    """

    version: ClassVar[int] = 2
    inline: ClassVar[bool] = True

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("answer_correctness", "answer_recall")

    def run(self, answer: str, reference: str | None = None) -> Scores:
        answer, expected = require_text(answer, "answer"), require_text(reference, "reference")
        actual_terms, expected_terms = Counter(terms(answer)), Counter(terms(expected))
        if not expected_terms:
            return {"answer_correctness": None, "answer_recall": None}
        common = sum((actual_terms & expected_terms).values())
        if not common or (is_refusal(answer) and not is_refusal(expected)):
            return {"answer_correctness": 0.0, "answer_recall": 0.0}
        precision, recall = common / sum(actual_terms.values()), common / sum(expected_terms.values())
        factor = 0.5 if contradicts(answer, expected) else 1.0
        f1 = 2 * precision * recall / (precision + recall)
        return {"answer_correctness": factor * f1, "answer_recall": factor * recall}


class RetrievalMetrics(Evaluator):
    """hit, recall, mrr and ndcg at k, from the ranks of the gold pages among the passages.

    A page counts once, at its best rank; further passages of the same page are ignored. A gold file without a page
    (`handbook.md`) matches any page of the file. nDCG is binary, and its ideal ranks all gold pages first. Scores are
    None for questions without gold pages, and 0 for an empty list of passages.

    Attributes:
        k: number of passages that count; None for all.
    """

    version: ClassVar[int] = 2
    inline: ClassVar[bool] = True
    k: Positive | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("hit", "recall", "mrr", "ndcg")

    def run(self, documents: list[Document] | None = None, gold: list[str] | None = None) -> Scores:
        gold_pages = _gold(gold)
        if not gold_pages or documents is None:
            return {"hit": None, "recall": None, "mrr": None, "ndcg": None}
        names = [str(document["id"]) for document in documents[: self.k]]
        pages = list(dict.fromkeys(_page(name, gold_pages) for name in names))
        ranks = [rank for rank, page in enumerate(pages, 1) if page in gold_pages]
        ideal = len(gold_pages) if self.k is None else min(len(gold_pages), self.k)
        return {
            "hit": 1.0 if ranks else 0.0,
            "recall": len(ranks) / len(gold_pages),
            "mrr": 1 / ranks[0] if ranks else 0.0,
            "ndcg": sum(map(_gain, ranks)) / sum(map(_gain, range(1, ideal + 1))),
        }


class RefusalMetrics(Evaluator):
    """right_refusal for unanswerable questions, over_refusal (lower is better) for answerable ones.

    Both are None for an empty answer.
    """

    version: ClassVar[int] = 2
    inline: ClassVar[bool] = True

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("right_refusal", "over_refusal")

    def run(self, answer: str, answerable: bool | None = None) -> Scores:
        answer = require_text(answer, "answer")
        refused = None if not answer.strip() else float(is_refusal(answer))
        return {
            "right_refusal": refused if answerable is False else None,
            "over_refusal": refused if answerable is True else None,
        }


def require_text(value: Any, slot: str) -> str:
    """The text of a slot: "" for None, and a finite number as text.

    Raises:
        TypeError: the value is something else.
    """
    if value is None:
        return ""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if not isinstance(value, str):
        raise TypeError(f"the {slot} must be text, got {value!r}")
    return value


def require_passages(value: Any) -> Sequence[Document]:
    """The passages of a slot. Raises TypeError for anything but a list of documents."""
    if isinstance(value, list) and all(isinstance(d, dict) and isinstance(d.get("page_content"), str) for d in value):
        return value
    raise TypeError(f"documents must be a list of passages with `page_content`, got {value!r:.200}")


def _gold(value: Any) -> frozenset[str]:
    if value is None or (isinstance(value, list) and all(isinstance(name, str) for name in value)):
        return frozenset(value or ())
    raise TypeError(f"gold must be a list of page ids, got {value!r}")


def _page(name: str, gold: frozenset[str]) -> str:
    """The page of a passage, or its file if the gold names the file without pages."""
    page = re.sub(r"[&#]part=\d+$", "", name)
    return page if page in gold else max((file for file in gold if page.startswith(f"{file}#")), default=page)


def _gain(rank: int) -> float:
    return 1 / math.log2(rank + 1)
