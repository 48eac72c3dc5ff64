"""`cache=semantic`: a question may get the stored answer to a similar question."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field, SerializeAsAny

from llmops_flows.artifacts.vectors import embed_known
from llmops_flows.core.cache_policy import CachePolicy
from llmops_flows.core.fingerprint import decode, digest, encode
from llmops_flows.core.redaction import has_secret
from llmops_flows.core.roles import Embedder
from llmops_flows.core.stage import Positive
from llmops_flows.core.store import Entry, Store
from llmops_flows.text.question_match import same_facts

BLOCK = 256
"""Entries of a log per read. A log ends at a gap of this length."""
_META = b'{"stage":"cache"}'


class SemanticCache(CachePolicy):
    """Looks up the exact question first, then the answer to a similar one.

    Two questions are similar if the cosine of their vectors reaches `threshold` and they state the same facts
    (`question_match.same_facts`: numbers, negations, opposites, names, quotes, directions). Everything else is equal:
    flow, prompts, models, documents, policies, tenant, history. Such answers have the state `similar`, and their notes
    name the earlier question.

    Attributes:
        threshold: cosine from which questions are similar. `benchmarks/semantic_cache.py` measures wrong answers.
        embedder: embeds questions. Static word vectors do not separate questions well.
        candidates: number of most similar questions that are tried.
        most: maximum number of questions per flow and tenant; later questions are not added.
    """

    threshold: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.95
    embedder: SerializeAsAny[Embedder]
    candidates: Positive = 3
    most: Positive = 20_000

    @cached_property
    def _logs(self) -> dict[tuple[int, str], QuestionLog]:
        return {}

    def similar(self, questions: Sequence[str], scope: str, store: Store) -> list[list[tuple[str, float]]]:
        """The similar earlier questions of each question, best first; [] for a question that is in the log."""
        log = self._log(scope, store)
        log.read()
        new = [question for question in dict.fromkeys(questions) if question not in log.known]
        if not new or not log.questions:
            return [[] for _ in questions]
        vectors = _matrix(embed_known(self.embedder, new, store, query=True))
        scores = vectors @ log.matrix(self.embedder).T
        matches = {
            question: self._best(question, row, log.questions) for question, row in zip(new, scores, strict=True)
        }
        return [matches.get(question, []) for question in questions]

    def remember(self, questions: Sequence[str], scope: str, store: Store) -> None:
        """Add questions to the log; a question with a secret is not added."""
        log = self._log(scope, store)
        log.read()
        for question in dict.fromkeys(questions):
            if question not in log.known and len(log.questions) < self.most and not has_secret(question):
                log.append(question)

    def _best(self, question: str, scores: Any, earlier: Sequence[str]) -> list[tuple[str, float]]:
        nearest = sorted(range(len(earlier)), key=lambda n: -scores[n])[: self.candidates]
        similar = [(earlier[n], float(scores[n])) for n in nearest if scores[n] >= self.threshold]
        return [(other, score) for other, score in similar if same_facts(question, other)]

    def _log(self, scope: str, store: Store) -> QuestionLog:
        key = (id(store), digest(scope, self.embedder.identity))
        return self._logs.setdefault(key, QuestionLog(key[1], store))


class QuestionLog:
    """The numbered questions of one scope in a store. Processes add to it concurrently and read only new entries."""

    def __init__(self, scope: str, store: Store) -> None:
        self.scope = scope
        self.store = store
        self.questions: list[str] = []
        self.known: set[str] = set()
        self._next = 0
        self._vectors: Any = None
        self._lock = threading.RLock()

    def read(self) -> None:
        """Read the entries that other processes added. Missing numbers are skipped."""
        with self._lock:
            while True:
                keys = [self._key(n) for n in range(self._next, self._next + BLOCK)]
                entries = self.store.entries(keys)
                if not entries:
                    return
                values = self.store.values([entry.address for entry in entries.values()])
                for number, key in enumerate(keys, self._next):
                    if key in entries:
                        self._add(values.get(entries[key].address), number)

    def append(self, question: str) -> None:
        """Write a question under the next free number; concurrent writers get different numbers."""
        data, owner = encode(question), uuid.uuid4().hex
        with self._lock:
            number = self._next
            while True:
                key = self._key(number)
                if self.store.lease([key], owner, seconds=5)[key].granted:
                    free = not self.store.entries([key])
                    if free:
                        self.store.put({key: Entry(digest(data), _META)}, {digest(data): data})
                    self.store.release([key], owner)
                    if free:
                        return
                number += 1

    def matrix(self, embedder: Embedder) -> Any:
        """The vectors of the questions, one row each."""
        with self._lock:
            count = 0 if self._vectors is None else len(self._vectors)
            if count < len(self.questions):
                import numpy

                new = _matrix(embed_known(embedder, self.questions[count:], self.store, query=True))
                self._vectors = new if self._vectors is None else numpy.concatenate([self._vectors, new])
            return self._vectors

    def _add(self, data: bytes | None, number: int) -> None:
        self._next = number + 1
        question = None if data is None else decode(data)
        if isinstance(question, str) and question not in self.known:
            self.questions.append(question)
            self.known.add(question)

    def _key(self, number: int) -> str:
        return digest("question", self.scope, str(number))


def _matrix(vectors: Sequence[bytes]) -> Any:
    import numpy

    return numpy.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(vectors), -1)
