"""`reranker=none`: the retrieved passages unchanged."""

from __future__ import annotations

from typing import ClassVar

from llmops_flows.core.record import Document
from llmops_flows.core.roles import Reranker


class NoReranker(Reranker):
    """documents -> context: the passages unchanged."""

    inline: ClassVar[bool] = True

    def run(self, documents: list[Document]) -> list[Document]:
        return documents
