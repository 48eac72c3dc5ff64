"""`embedder=langchain`: any LangChain Embeddings class."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, ClassVar

from pydantic import Field

from llmops_flows.artifacts.lazy_import import load, load_class, target_problems
from llmops_flows.artifacts.resources import shared
from llmops_flows.calls.budget_account import Amount
from llmops_flows.calls.call_context import call_service
from llmops_flows.calls.service_errors import backend_error
from llmops_flows.core.errors import BackendError, FlowError
from llmops_flows.core.fingerprint import target_code
from llmops_flows.core.limits import Limits
from llmops_flows.core.roles import Embedder, Prices, Vectors, most_tokens
from llmops_flows.core.stage import OPERATIONAL
from llmops_flows.integrations.langchain.embeddings import embeddings_base

FAMILIES = ("langchain",)


class LangChainEmbeddings(Embedder):
    """Any LangChain Embeddings class.

    Attributes:
        target: dotted name of the class, such as `langchain_openai.OpenAIEmbeddings`.
        params: arguments of the class; keys belong in the environment.
        prices: US dollars per million tokens, for a class that calls a service. Its calls then pass the call gate, and
            a budget counts their maximum cost, since LangChain does not report the tokens.
        limits: timeout, attempts and rate limits of calls to the service; the class's own retries are disabled.
    """

    requires: ClassVar[tuple[str, ...]] = ("langchain_core",)
    extra: ClassVar[str] = "langchain"
    target: str
    params: dict[str, Any] = Field(default_factory=dict)
    prices: Annotated[Prices, OPERATIONAL] = Prices()
    limits: Annotated[Limits, OPERATIONAL] = Limits()

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        return {**super().fingerprint(include_operational=include_operational), "library": target_code(self.target)}

    def problems(self) -> list[str]:
        return target_problems(self.target, FAMILIES)

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        numpy = load("numpy", "langchain", type(self).__name__)
        if not texts:
            return numpy.zeros((0, 1), dtype="float32")
        model, texts = shared(self, self._load), list(texts)
        embed = partial(_embed_queries, model, texts) if query else partial(model.embed_documents, texts)
        max_cost = self.prices.max_cost(most_tokens(texts), 0)
        if max_cost["cost_usd"]:

            async def send(seconds: float) -> Any:
                try:
                    return await asyncio.to_thread(embed)
                except FlowError:
                    raise
                except Exception as error:
                    raise backend_error(error, self.target) from None

            rows = call_service(self.target, self.limits, send, max_cost=Amount.of(max_cost), cost=lambda answer: None)
        else:
            try:
                rows = embed()
            except FlowError:
                raise
            except Exception as error:
                raise BackendError(f"{self.target} could not embed {len(texts)} texts: {error}") from error
        vectors = numpy.asarray(rows, dtype="float32")
        return vectors / numpy.maximum(numpy.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def _load(self) -> Any:
        cls: Any = load_class(self.target, FAMILIES, embeddings_base, "LangChain Embeddings class", self.extra)
        has_retries = self.prices.input and "max_retries" in getattr(cls, "model_fields", {})
        return cls(**{**({"max_retries": 0} if has_retries else {}), **self.params})


def _embed_queries(model: Any, texts: Sequence[str]) -> list[list[float]]:
    return [model.embed_query(text) for text in texts]
