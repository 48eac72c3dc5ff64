"""Narrowing: from passages to the few sentences that bear on the question."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_flows.core.record import Document
from llmops_flows.core.roles import Reranker
from llmops_flows.core.stage import Positive
from llmops_flows.documents.passages import with_score
from llmops_flows.text.bm25_ranking import Bm25Ranking
from llmops_flows.text.heading import heading
from llmops_flows.text.words import content_words, split_sentences


class SentenceReranker(Reranker):
    """question, documents -> context: the sentences of all passages that fit the question best, best first.

    Each comes as a document with its passage's id and metadata. Small models answer far better from two good
    sentences than from five pages. A sentence that several passages share is given once.

    Attributes:
        count: how many sentences are kept.
        characters: how long they may be together; the first is kept whatever its length.
    """

    count: Positive = 3
    characters: Positive = 1500

    def run(self, question: str, documents: list[Document]) -> list[Document]:
        pool = _pool(documents)
        ranking = Bm25Ranking([content_words(f"{heading(document)} {text}") for text, document in pool])
        asked = content_words(question)
        chosen: list[Document] = []
        room = self.characters
        for number, score in zip(*ranking.best(asked, len(pool)), strict=True):
            text, document = pool[number]
            if chosen and (len(chosen) == self.count or len(text) > room):
                break
            chosen.append(with_score(Document({**document, "page_content": text}), score))
            room -= len(text)
        return chosen


def _pool(documents: Sequence[Document]) -> list[tuple[str, Document]]:
    """Every distinct sentence with the first passage that holds it."""
    seen: dict[str, tuple[str, Document]] = {}
    for document in documents:
        for text in split_sentences(document["page_content"]):
            seen.setdefault(" ".join(text.lower().split()), (text, document))
    return list(seen.values())
