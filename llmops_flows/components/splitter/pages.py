"""`splitter=pages`: one passage for each page."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_flows.core.record import Document
from llmops_flows.core.roles import Splitter


class PageSplitter(Splitter):
    """Documents as they are loaded: one passage a page."""

    def split(self, documents: Sequence[Document]) -> list[Document]:
        return list(documents)
