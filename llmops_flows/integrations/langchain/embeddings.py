"""An embedder as LangChain Embeddings."""

from __future__ import annotations

from functools import cache
from typing import Any

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.artifacts.vectors import embed_known
from llmops_flows.core.roles import Embedder
from llmops_flows.core.store import Store


def as_langchain_embeddings(embedder: Embedder, *, store: Store | None = None) -> Any:
    """The embedder as a LangChain Embeddings object; vectors in the store are reused."""
    return langchain_embeddings_class()(embedder=embedder, store=store)


def embeddings_base() -> tuple[type, ...]:
    return (load("langchain_core.embeddings", "langchain").Embeddings,)


@cache
def langchain_embeddings_class() -> type:
    """The class that `as_langchain_embeddings` returns; defined on first use, since LangChain is slow to import."""
    (base,) = embeddings_base()

    class FlowEmbeddings(base):  # type: ignore[misc,valid-type]
        """LangChain Embeddings over an embedder of llmops_flows."""

        def __init__(self, embedder: Embedder, store: Store | None = None) -> None:
            self.embedder = embedder
            self.store = store

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return self._rows(texts, query=False)

        def embed_query(self, text: str) -> list[float]:
            return self._rows([text], query=True)[0]

        def _rows(self, texts: list[str], *, query: bool) -> list[list[float]]:
            numpy = load("numpy", "langchain")
            vectors = embed_known(self.embedder, texts, self.store, query=query)
            return [numpy.frombuffer(row, dtype="<f4").tolist() for row in vectors]

    return FlowEmbeddings
