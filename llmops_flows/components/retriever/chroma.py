"""`retriever=chroma`: vector search in a Chroma collection."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from llmops_flows.artifacts.artifact import artifact, no_space_error
from llmops_flows.artifacts.lazy_import import SLOW_FORMATS, load
from llmops_flows.artifacts.resources import shared
from llmops_flows.core.record import Document
from llmops_flows.core.stage import Call
from llmops_flows.core.store import Store
from llmops_flows.documents.passages import RankedPassages

from .vector_retriever import VectorRetriever

COLLECTION = "passages"
ADD_BATCH = 5000
"""Chroma refuses more than 5,461 records in one call."""

MAX_CACHED_PASSAGES = 20_000
"""Passages that an open index keeps in memory; the cache is emptied when it is full."""


class Chroma(VectorRetriever):
    """Ranks passages by cosine similarity in a Chroma index.

    The index is built once for documents, splitter and embedder. Chroma's embedded client is not safe across
    processes, and writes to its files even when it only reads. Therefore each process opens its own copy of the index.
    """

    requires: ClassVar[tuple[str, ...]] = ("chromadb",)
    extra: ClassVar[str] = "chroma"

    def nearest(self, questions: Sequence[str], vectors: Sequence[bytes], call: Call) -> list[RankedPassages]:
        index = shared(self.index, lambda: self._open(call), name="chroma", close=_Index.close)
        return index.search(vectors, self.k)

    def _open(self, call: Call) -> _Index:
        return _Index(artifact(call.home, self.address, lambda f: self._build(f, call.store), kind="chroma"))

    def _build(self, folder: Path, store: Store | None) -> None:
        passages, vectors = self.index.embedded(store)
        client = _client(folder)
        try:
            collection = client.create_collection(
                COLLECTION, embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
            )
            for start in range(0, len(passages), ADD_BATCH):
                batch = passages[start : start + ADD_BATCH]
                collection.add(
                    ids=[passage["id"] for passage in batch],
                    embeddings=_matrix(vectors[start : start + ADD_BATCH]),
                    documents=[passage["page_content"] for passage in batch],
                    metadatas=[{"json": json.dumps(passage["metadata"])} for passage in batch],
                )
        finally:
            client.close()


class _Index:
    """A private, open copy of a finished index."""

    def __init__(self, folder: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="llmops-flows-chroma-", ignore_cleanup_errors=True)
        try:
            shutil.copytree(folder, self._folder.name, dirs_exist_ok=True)
        except OSError as error:
            raise no_space_error("chroma", Path(self._folder.name), error) from error
        self._client = _client(Path(self._folder.name))
        self._collection = self._client.get_collection(COLLECTION, embedding_function=None)
        self._count: int = self._collection.count()
        self._cached: dict[str, Document] = {}

    def search(self, vectors: Sequence[bytes], k: int) -> list[RankedPassages]:
        """The k nearest passages for each vector, nearest first; the score is the cosine."""
        result = self._collection.query(
            query_embeddings=_matrix(vectors), n_results=min(k, self._count), include=["distances"]
        )
        passages = self._passages(chain.from_iterable(result["ids"]))
        return [
            ([passages[name] for name in names], [1.0 - distance for distance in distances])
            for names, distances in zip(result["ids"], result["distances"], strict=True)
        ]

    def _passages(self, names: Iterable[str]) -> Mapping[str, Document]:
        """The passages of these ids. They are cached, since different questions retrieve the same passages."""
        requested = set(names)
        cached = self._cached
        missing = sorted(requested - cached.keys())
        if missing:
            if len(cached) + len(missing) > MAX_CACHED_PASSAGES:
                cached = {name: cached[name] for name in requested & cached.keys()}
            read = self._collection.get(ids=missing, include=["documents", "metadatas"])
            rows = zip(read["ids"], read["documents"], read["metadatas"], strict=True)
            self._cached = cached = {**cached, **{name: _document(name, *row) for name, *row in rows}}
        return cached

    def close(self) -> None:
        self._client.close()
        self._folder.cleanup()


def _client(folder: Path) -> Any:
    chromadb = load("chromadb", Chroma.extra, Chroma.__name__, without=SLOW_FORMATS)
    config = load("chromadb.config", Chroma.extra, Chroma.__name__)
    return chromadb.PersistentClient(str(folder), settings=config.Settings(anonymized_telemetry=False))


def _matrix(vectors: Sequence[bytes]) -> Any:
    numpy = load("numpy", Chroma.extra, Chroma.__name__)
    return numpy.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(vectors), -1)


def _document(name: str, text: str, metadata: dict[str, str]) -> Document:
    return Document(id=name, page_content=text, metadata=json.loads(metadata["json"]))
