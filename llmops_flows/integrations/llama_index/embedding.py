"""An embedder as a LlamaIndex embedding."""

from __future__ import annotations

from functools import cache
from typing import Any

from llmops_flows.artifacts.lazy_import import SLOW_FORMATS, load
from llmops_flows.core.roles import Embedder


def as_llama_embedding(embedder: Embedder) -> Any:
    """The embedder as a LlamaIndex BaseEmbedding object."""
    return _embedding_class()(embedder=embedder, model_name=type(embedder).__name__)


@cache
def _embedding_class() -> type:
    base = load(
        "llama_index.core.base.embeddings.base", "llama-index", "as_llama_embedding", without=SLOW_FORMATS
    ).BaseEmbedding

    class FlowEmbedding(base):  # type: ignore[misc,valid-type]
        """LlamaIndex embedding over an embedder of llmops_flows."""

        embedder: Any

        def _get_text_embedding(self, text: str) -> list[float]:
            return self._get_text_embeddings([text])[0]

        def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            return self.embedder.embed(texts).tolist()  # type: ignore[no-any-return]

        def _get_query_embedding(self, query: str) -> list[float]:
            return self.embedder.embed([query], query=True)[0].tolist()  # type: ignore[no-any-return]

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return self._get_query_embedding(query)

    return FlowEmbedding
