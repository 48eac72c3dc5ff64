"""Embeddings across LangChain's door: any Embeddings class as an embedder, any embedder as Embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import Field

from llmops_flows.core.budget import Amount
from llmops_flows.core.errors import BackendError, FlowError
from llmops_flows.core.fingerprint import target_code
from llmops_flows.core.purse import paid
from llmops_flows.core.resources import shared
from llmops_flows.core.stage import OPERATIONAL
from llmops_flows.core.store import Store
from llmops_flows.integrations.lazy import load, named, target_faults
from llmops_flows.stages.roles import Embedder, Prices, Vectors, most_tokens
from llmops_flows.stages.vectors import embed_known

FAMILIES = ("langchain",)


class LangChainEmbeddings(Embedder):
    """Any LangChain Embeddings class.

    Attributes:
        target: dotted name of the class, as `langchain_openai.OpenAIEmbeddings`.
        params: what it is constructed with (plain data; keys belong in the environment).
        prices: US dollars per million tokens, where a service is behind it. It does not tell how many tokens it took:
            a budget counts the most that they may have been.
    """

    requires: ClassVar[tuple[str, ...]] = ("langchain_core",)
    extra: ClassVar[str] = "langchain"
    target: str
    params: dict[str, Any] = Field(default_factory=dict)
    prices: Annotated[Prices, OPERATIONAL] = Prices()

    def fingerprint(self, *, whole: bool = False) -> dict[str, Any]:
        return {**super().fingerprint(whole=whole), "library": target_code(self.target)}

    def faults(self) -> list[str]:
        return target_faults(self.target, FAMILIES)

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        numpy = load("numpy", "langchain", type(self).__name__)
        if not texts:
            return numpy.zeros((0, 1), dtype="float32")
        model = shared(self, self._load)
        try:
            with self._paid(texts):
                rows = [model.embed_query(t) for t in texts] if query else model.embed_documents(list(texts))
        except FlowError:
            raise
        except Exception as error:
            raise BackendError(f"{self.target} could not embed {len(texts)} texts: {error}") from error
        vectors = numpy.asarray(rows, dtype="float32")
        return vectors / numpy.maximum(numpy.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def _paid(self, texts: Sequence[str]) -> AbstractContextManager[Any]:
        worst = self.prices.worst(most_tokens(texts), 0)
        return paid(Amount.of(worst)) if worst.get("cost_usd") else nullcontext()

    def _load(self) -> Any:
        return named(self.target, FAMILIES, _bases, "LangChain Embeddings class", self.extra)(**self.params)


def as_langchain_embeddings(embedder: Embedder, *, store: Store | None = None) -> Any:
    """The embedder as a LangChain Embeddings object; texts that the store knows are not embedded again."""
    return langchain_embeddings_class()(embedder=embedder, store=store)


def _bases() -> tuple[type, ...]:
    return (load("langchain_core.embeddings", "langchain").Embeddings,)


@cache
def langchain_embeddings_class() -> type:
    """The class of what `as_langchain_embeddings` gives; made late, since LangChain is slow to load."""
    (base,) = _bases()

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
            found = embed_known(self.embedder, texts, self.store, query=query)
            return [numpy.frombuffer(row, dtype="<f4").tolist() for row in found]

    return FlowEmbeddings
