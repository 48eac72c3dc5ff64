"""Embeddings across LangChain's door: any Embeddings class as an embedder, any embedder as Embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any, ClassVar

from pydantic import Field

from llmops_flows.artifacts.lazy_import import load, load_class, target_problems
from llmops_flows.artifacts.resources import shared
from llmops_flows.calls.budget import Amount
from llmops_flows.calls.budget_meter import paid
from llmops_flows.core.errors import BackendError, FlowError
from llmops_flows.core.fingerprint import target_code
from llmops_flows.core.roles import Embedder, Prices, Vectors, most_tokens
from llmops_flows.core.stage import OPERATIONAL
from llmops_flows.integrations.langchain.embeddings import embeddings_base

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

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        return {**super().fingerprint(include_operational=include_operational), "library": target_code(self.target)}

    def problems(self) -> list[str]:
        return target_problems(self.target, FAMILIES)

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
        max_cost = self.prices.max_cost(most_tokens(texts), 0)
        return paid(Amount.of(max_cost)) if max_cost.get("cost_usd") else nullcontext()

    def _load(self) -> Any:
        return load_class(self.target, FAMILIES, embeddings_base, "LangChain Embeddings class", self.extra)(
            **self.params
        )
