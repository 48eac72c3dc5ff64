"""Base of the retrievers that search an index of vectors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property

from pydantic import SerializeAsAny

from llmops_flows.artifacts.vectors import embed_known
from llmops_flows.core.fingerprint import code, digest
from llmops_flows.core.record import Document
from llmops_flows.core.roles import Embedder, Retriever, Splitter
from llmops_flows.core.stage import Call
from llmops_flows.core.store import Store
from llmops_flows.documents.corpus import Corpus, DocumentSource, document_problems
from llmops_flows.documents.passages import RankedPassages, with_scores
from llmops_flows.text.heading import indexed_text


class VectorCorpus(Corpus):
    """Passages with their vectors. Its identity is the address of the index."""

    embedder: SerializeAsAny[Embedder]

    def embedded(self, store: Store | None) -> tuple[list[Document], list[bytes]]:
        """Every passage and its vector (float32, little-endian); stored vectors are reused."""
        passages = self.passages()
        return passages, embed_known(self.embedder, [indexed_text(passage) for passage in passages], store)


class VectorRetriever(Retriever):
    """Ranks passages by the similarity of their vectors to the vector of the question.

    Attributes:
        documents: folder or file of documents, or a loader.
        splitter: splits documents into passages; None for one passage per page.
        embedder: embeds passages and questions.
    """

    documents: DocumentSource
    splitter: SerializeAsAny[Splitter] | None = None
    embedder: SerializeAsAny[Embedder]

    @cached_property
    def index(self) -> VectorCorpus:
        return VectorCorpus(documents=self.documents, splitter=self.splitter, embedder=self.embedder)

    @cached_property
    def address(self) -> str:
        """The address of the index: the digest of its content and of this class."""
        return digest(self.index.identity, code(type(self)))

    def problems(self) -> list[str]:
        return document_problems(self.documents) + [f"embedder: {problem}" for problem in self.embedder.problems()]

    def retrieve(self, questions: Sequence[str], call: Call) -> list[list[Document]]:
        return with_scores(self._ranked(questions, call))

    def ranked(self, questions: Sequence[str], call: Call) -> list[list[Document]]:
        return [passages for passages, _ in self._ranked(questions, call)]

    def _ranked(self, questions: Sequence[str], call: Call) -> list[RankedPassages]:
        if not questions:
            return []
        return self.nearest(questions, embed_known(self.embedder, questions, call.store, query=True), call)

    @abstractmethod
    def nearest(self, questions: Sequence[str], vectors: Sequence[bytes], call: Call) -> list[RankedPassages]:
        """The k nearest passages and their scores for each question and its vector (float32, little-endian)."""
