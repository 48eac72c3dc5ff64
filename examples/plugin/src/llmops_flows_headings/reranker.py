"""Reranks passages by the headings of their sections."""

from llmops_flows import Document, Reranker


class HeadingMatch(Reranker):
    """Keeps the passages whose heading shares the most words with the question.

    Attributes:
        count: number of passages.
    """

    count: int = 3

    def run(self, question: str, documents: list[Document]) -> list[Document]:
        words = set(question.lower().split())

        def shared(document: Document) -> int:
            return len(words & set(str(document["metadata"].get("heading", "")).lower().split()))

        return sorted(documents, key=shared, reverse=True)[: self.count]
