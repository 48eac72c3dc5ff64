"""Retrieval by words: BM25 over an inverted index that is kept as an artifact."""

from __future__ import annotations

import math
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SerializeAsAny

from llmops_flows.core.artifacts import artifact
from llmops_flows.core.fingerprint import decode, encode
from llmops_flows.core.record import Document
from llmops_flows.core.resources import shared
from llmops_flows.core.stage import Call

from .passages import Corpus, Documents, Found, indexed, missing, with_scores
from .roles import Retriever, Splitter
from .words import words

K1 = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Ranking:
    """BM25 scores of texts for the words of a question."""

    def __init__(self, texts: Sequence[Sequence[str]], *, k1: float = 1.5, b: float = 0.75) -> None:
        self.size = len(texts)
        self._arrays: dict[str, tuple[Any, Any]] = {}
        average = sum(map(len, texts)) / max(1, self.size) or 1.0
        self.postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for number, text in enumerate(texts):
            damp = k1 * (1 - b + b * len(text) / average)
            for word, count in Counter(text).items():
                self.postings[word].append((number, count * (k1 + 1) / (count + damp)))
        for word, found in self.postings.items():
            rarity = math.log(1 + (self.size - len(found) + 0.5) / (len(found) + 0.5))
            self.postings[word] = [(number, rarity * weight) for number, weight in found]

    @classmethod
    def of(cls, size: int, postings: dict[str, list[tuple[int, float]]]) -> Ranking:
        """A ranking that was computed before."""
        ranking = cls([])
        ranking.size, ranking.postings = size, postings
        return ranking

    def scores(self, question: Sequence[str]) -> dict[int, float]:
        """Number of a text to its score, for every text that shares a word with the question."""
        found: dict[int, float] = {}
        for word in question:
            for number, weight in self.postings.get(word, ()):
                found[number] = found.get(number, 0.0) + weight
        return found

    def best(self, question: Sequence[str], count: int) -> tuple[list[int], list[float]]:
        """The numbers of the best texts, best first, and their scores; equal scores in the order of the texts."""
        found = self.scores(question)
        best = sorted(sorted(found), key=found.__getitem__, reverse=True)[:count]
        return best, [found[number] for number in best]

    def best_for_each(self, questions: Sequence[Sequence[str]], count: int) -> list[tuple[list[int], list[float]]]:
        """`best` for each of the questions, to the last bit; several times as fast where numpy is loaded anyway."""
        if "numpy" not in sys.modules:  # importing it takes longer than most searches by words alone
            return [self.best(question, count) for question in questions]
        import numpy

        return [self._best_by(numpy, question, count) for question in questions]

    def _best_by(self, numpy: Any, question: Sequence[str], count: int) -> tuple[list[int], list[float]]:
        total = numpy.zeros(self.size)
        for word in question:
            if word in self.postings:
                numbers, weights = self._array(numpy, word)
                total[numbers] += weights
        found = total.nonzero()[0]
        if len(found) > count:
            found = (total >= numpy.partition(total, -count)[-count]).nonzero()[0]
        order = found[numpy.argsort(-total[found], kind="stable")[:count]]
        return order.tolist(), total[order].tolist()

    def _array(self, numpy: Any, word: str) -> tuple[Any, Any]:
        """The texts that have a word, and its weight in each."""
        if word not in self._arrays:
            numbers, weights = zip(*self.postings[word], strict=True)
            self._arrays[word] = numpy.array(numbers), numpy.array(weights)
        return self._arrays[word]


class Bm25Index(Corpus):
    """The inverted index of a corpus, as a JSON file."""

    k1: K1 = 1.5
    b: Share = 0.75

    def open(self, home: Path | None) -> tuple[list[Document], Ranking]:
        """The passages and their ranking, built when nobody built them before."""
        return shared(self, lambda: self._load(artifact(home, self.identity, self._build, kind="bm25")))

    def _build(self, folder: Path) -> None:
        passages = self.passages()
        ranking = Ranking([words(indexed(passage)) for passage in passages], k1=self.k1, b=self.b)
        (folder / "index.json").write_bytes(encode({"passages": passages, "postings": ranking.postings}))

    def _load(self, folder: Path) -> tuple[list[Document], Ranking]:
        kept: dict[str, Any] = decode((folder / "index.json").read_bytes())
        return kept["passages"], Ranking.of(len(kept["passages"]), kept["postings"])


class Bm25(Retriever):
    """The passages that share the most telling words with the question (Okapi BM25, light English stemming).

    Attributes:
        documents: the folder (or file) of documents, or a loader.
        splitter: how documents are cut into passages; None: pages as they are.
        k1: how much a word counts that comes again and again.
        b: how much long passages are held back (0: not at all, 1: fully).
    """

    documents: Documents
    splitter: SerializeAsAny[Splitter] | None = None
    k1: K1 = 1.5
    b: Share = 0.75

    @cached_property
    def index(self) -> Bm25Index:
        return Bm25Index(documents=self.documents, splitter=self.splitter, k1=self.k1, b=self.b)

    def faults(self) -> list[str]:
        return missing(self.documents)

    def retrieve(self, questions: Sequence[str], call: Call) -> list[list[Document]]:
        return with_scores(self._found(questions, call))

    def ranked(self, questions: Sequence[str], call: Call) -> list[list[Document]]:
        return [passages for passages, _ in self._found(questions, call)]

    def _found(self, questions: Sequence[str], call: Call) -> list[Found]:
        passages, ranking = self.index.open(call.home)
        best = ranking.best_for_each([words(question) for question in questions], self.k)
        return [([passages[number] for number in numbers], scores) for numbers, scores in best]
