"""`splitter=sentences`: passages of whole sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from llmops_flows.core.record import Document
from llmops_flows.core.roles import Splitter
from llmops_flows.core.stage import Positive
from llmops_flows.documents.passages import make_passages
from llmops_flows.text.words import split_sentences


class SentenceSplitter(Splitter):
    """Groups sentences into passages; each starts with the last sentences of the previous passage.

    Attributes:
        size: maximum length of a passage in characters; a longer sentence is split at white space.
        overlap: number of sentences that consecutive passages share.
    """

    size: Positive = 1000
    overlap: Annotated[int, Field(ge=0, le=10)] = 1

    def split(self, documents: Sequence[Document]) -> list[Document]:
        return [passage for document in documents for passage in make_passages(document, self._texts(document))]

    def _texts(self, document: Document) -> list[str]:
        parts = [
            piece
            for sentence in split_sentences(document["page_content"])
            for piece in _split_long(sentence, self.size)
        ]
        texts: list[str] = []
        start = 0
        while start < len(parts):
            end, length = start, 0
            while end < len(parts) and (end == start or length + 1 + len(parts[end]) <= self.size):
                length += 1 + len(parts[end])
                end += 1
            texts.append(" ".join(parts[start:end]))
            if end == len(parts):
                break
            start = max(start + 1, end - self.overlap)
        return texts


def _split_long(sentence: str, size: int) -> list[str]:
    """A sentence in pieces of at most `size` characters."""
    pieces: list[str] = []
    while len(sentence) > size:
        space = sentence.rfind(" ", 0, size + 1)
        end = space if space > 0 else size
        pieces.append(sentence[:end].rstrip())
        sentence = sentence[end:].lstrip()
    return [*pieces, sentence] if sentence else pieces
