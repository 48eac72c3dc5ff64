"""`retriever=bm25`: keyword search with BM25 over an inverted index on disk."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SerializeAsAny

from llmops_flows.artifacts.artifact import artifact
from llmops_flows.artifacts.resources import shared
from llmops_flows.core.fingerprint import decode, encode
from llmops_flows.core.record import Document
from llmops_flows.core.roles import Retriever, Splitter
from llmops_flows.core.stage import Call
from llmops_flows.documents.corpus import Corpus, DocumentSource, document_problems
from llmops_flows.documents.passages import RankedPassages, with_scores
from llmops_flows.text.bm25_ranking import Bm25Ranking
from llmops_flows.text.heading import indexed_text
from llmops_flows.text.words import content_words

K1 = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Bm25Index(Corpus):
    """The inverted index of a corpus, as a JSON file."""

    k1: K1 = 1.5
    b: Share = 0.75

    def open(self, home: Path | None) -> tuple[list[Document], Bm25Ranking]:
        """The passages and their ranking; the index is built if it does not exist."""
        return shared(self, lambda: self._load(artifact(home, self.identity, self._build, kind="bm25")))

    def _build(self, folder: Path) -> None:
        passages = self.passages()
        ranking = Bm25Ranking([content_words(indexed_text(passage)) for passage in passages], k1=self.k1, b=self.b)
        (folder / "index.json").write_bytes(encode({"passages": passages, "postings": ranking.postings}))

    def _load(self, folder: Path) -> tuple[list[Document], Bm25Ranking]:
        index: dict[str, Any] = decode((folder / "index.json").read_bytes())
        return index["passages"], Bm25Ranking.from_postings(len(index["passages"]), index["postings"])


class Bm25(Retriever):
    """Ranks passages by the words that they share with the question (Okapi BM25, light English stemming).

    Attributes:
        documents: folder or file of documents, or a loader.
        splitter: splits documents into passages; None for one passage per page.
        k1: weight of repeated words.
        b: penalty for long passages, from 0 (none) to 1 (full).
    """

    documents: DocumentSource
    splitter: SerializeAsAny[Splitter] | None = None
    k1: K1 = 1.5
    b: Share = 0.75

    @cached_property
    def index(self) -> Bm25Index:
        return Bm25Index(documents=self.documents, splitter=self.splitter, k1=self.k1, b=self.b)

    def problems(self) -> list[str]:
        return document_problems(self.documents)

    def retrieve(self, questions: Sequence[str], call: Call) -> list[list[Document]]:
        return with_scores(self._ranked(questions, call))

    def ranked(self, questions: Sequence[str], call: Call) -> list[list[Document]]:
        return [passages for passages, _ in self._ranked(questions, call)]

    def _ranked(self, questions: Sequence[str], call: Call) -> list[RankedPassages]:
        passages, ranking = self.index.open(call.home)
        best = ranking.best_batch([content_words(question) for question in questions], self.k)
        return [([passages[number] for number in numbers], scores) for numbers, scores in best]
