"""No language model: the sentences of the context that answer best. The deterministic baseline."""

from __future__ import annotations

from typing import Any

from llmops_flows.core.record import Document
from llmops_flows.core.roles import Model
from llmops_flows.core.stage import Positive

from ..reranker.sentences import SentenceReranker


class Extractive(Model):
    """Answers with the `sentences` best sentences of what was retrieved, best first."""

    name: str = "extractive"
    sentences: Positive = 2

    def run(self, question: str, documents: list[Document]) -> Any:
        best = SentenceReranker(count=self.sentences).run(question, documents)
        return " ".join(found["page_content"] for found in best)
