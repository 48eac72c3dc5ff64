"""`reranker=sentences`: the sentences that match the question best, instead of whole passages."""

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
    """question, documents -> context: the sentences of all passages that match the question best, best first.

    Each is a document with the id and metadata of its passage. Small models answer better from a few sentences than
    from whole pages. A sentence that occurs in several passages is returned once.

    Attributes:
        count: number of sentences.
        characters: maximum total length; the first sentence is always returned.
    """

    count: Positive = 3
    characters: Positive = 1500

    def run(self, question: str, documents: list[Document]) -> list[Document]:
        sentences = _distinct_sentences(documents)
        ranking = Bm25Ranking([content_words(f"{heading(document)} {text}") for text, document in sentences])
        chosen: list[Document] = []
        remaining = self.characters
        for number, score in zip(*ranking.best(content_words(question), len(sentences)), strict=True):
            text, document = sentences[number]
            if chosen and (len(chosen) == self.count or len(text) > remaining):
                break
            chosen.append(with_score(Document({**document, "page_content": text}), score))
            remaining -= len(text)
        return chosen


def _distinct_sentences(documents: Sequence[Document]) -> list[tuple[str, Document]]:
    """Every distinct sentence with the first passage that contains it."""
    first: dict[str, tuple[str, Document]] = {}
    for document in documents:
        for text in split_sentences(document["page_content"]):
            first.setdefault(" ".join(text.lower().split()), (text, document))
    return list(first.values())
