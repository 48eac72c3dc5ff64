"""`splitter=pages`: one passage per page."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_flows.core.record import Document
from llmops_flows.core.roles import Splitter


class PageSplitter(Splitter):
    """Keeps documents as they are loaded: one passage per page."""

    def split(self, documents: Sequence[Document]) -> list[Document]:
        return list(documents)
