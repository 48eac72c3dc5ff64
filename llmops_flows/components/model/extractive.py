"""`model=extractive`: a deterministic baseline without a language model."""

from __future__ import annotations

from typing import Any

from llmops_flows.core.record import Document
from llmops_flows.core.roles import Model
from llmops_flows.core.stage import Positive

from ..reranker.sentences import SentenceReranker


class Extractive(Model):
    """Answers with the retrieved sentences that match the question best, best first.

    Attributes:
        sentences: number of sentences.
    """

    name: str = "extractive"
    sentences: Positive = 2

    def run(self, question: str, documents: list[Document]) -> Any:
        passages = SentenceReranker(count=self.sentences).run(question, documents)
        return " ".join(passage["page_content"] for passage in passages)
