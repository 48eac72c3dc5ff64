"""`retriever=none`: no retrieval."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_flows.core.record import Document
from llmops_flows.core.roles import Retriever
from llmops_flows.core.stage import Call


class NoRetriever(Retriever):
    """Returns no documents, so that the model answers without context."""

    def retrieve(self, questions: Sequence[str], call: Call) -> list[list[Document]]:
        return [[] for _ in questions]
