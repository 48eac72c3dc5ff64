"""Embeddings by OpenAI, or by any service that speaks its protocol."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import model_validator

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.artifacts.resources import shared
from llmops_flows.calls.budget import Amount
from llmops_flows.calls.budget_meter import paid
from llmops_flows.calls.retry import backoff
from llmops_flows.calls.service_errors import backend_error
from llmops_flows.core.errors import BackendError, ConfigError, Problem
from llmops_flows.core.limits import Limits
from llmops_flows.core.roles import Embedder, Prices, Usage, Vectors, most_tokens
from llmops_flows.core.stage import OPERATIONAL, Positive

from ..service_settings import api_key_problems, base_url_problems, price_problems, read_api_key, with_listed_prices

_HINT = "; look at base_url, which ends in /v1 with most services"


class OpenAIEmbeddings(Embedder):
    """An embedding model behind OpenAI's API.

    Attributes:
        name: the model's name at the service.
        dimensions: how long its vectors are, where the model offers a choice.
        base_url: another service of the same protocol.
        api_key_env: name of the environment variable that holds the key.
        limits: timeout and number of attempts.
        batch: texts in one request.
        prices: US dollars per million tokens; what is None comes from the price list (model name to its prices).
    """

    requires: ClassVar[tuple[str, ...]] = ("openai",)
    extra: ClassVar[str] = "openai"
    name: str = "text-embedding-3-small"
    dimensions: Positive | None = None
    base_url: str | None = None
    api_key_env: Annotated[str, OPERATIONAL] = "OPENAI_API_KEY"
    limits: Annotated[Limits, OPERATIONAL] = Limits()
    batch: Annotated[Positive, OPERATIONAL] = 256
    prices: Annotated[Prices, OPERATIONAL] = Prices()
    price_list: Annotated[dict[str, Prices], OPERATIONAL] = {}

    @model_validator(mode="before")
    @classmethod
    def _find_prices(cls, data: Any) -> Any:
        return with_listed_prices(data, cls.model_fields["name"].default)

    def problems(self) -> list[str]:
        keyless = self.base_url is not None
        prices = price_problems(self.name, self.prices, self.price_list, keyless)
        return [*api_key_problems(self.api_key_env, keyless), *base_url_problems(self.base_url), *prices]

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        numpy = load("numpy", self.extra, type(self).__name__)
        client = shared(self, self._load, close=lambda client: client.close())
        rows: list[list[float]] = []
        for start in range(0, len(texts), self.batch):
            rows += self._request(client, [text or " " for text in texts[start : start + self.batch]])
        vectors = numpy.asarray(rows, dtype="float32").reshape(len(rows), -1 if rows else self.dimensions or 1)
        return vectors / numpy.maximum(numpy.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def _request(self, client: Any, texts: list[str]) -> list[list[float]]:
        """The rows of one request, tried again where that can help; each try is paid for."""
        max_cost = Amount.of(self.prices.max_cost(most_tokens(texts), 0))
        for tries in range(1, self.limits.attempts + 1):
            try:
                with paid(max_cost) as settle:
                    return self._ask(client, texts, settle)
            except BackendError as error:
                if not error.retryable or tries == self.limits.attempts:
                    raise
                time.sleep(max(backoff(tries), min(error.retry_after or 0.0, self.limits.timeout)))
        raise AssertionError("unreachable")

    def _ask(self, client: Any, texts: list[str], settle: Callable[[Amount], Any]) -> list[list[float]]:
        openai = load("openai", self.extra)
        chosen = {"dimensions": self.dimensions} if self.dimensions else {}
        try:
            answer = client.embeddings.create(model=self.name, input=texts, encoding_format="float", **chosen)
        except openai.OpenAIError as error:
            raise backend_error(error, self.name) from None
        except ValueError:
            raise BackendError(f"{self.name} sent no JSON{_HINT}") from None
        if getattr(answer, "usage", None) is not None:
            settle(Amount.of(self.prices.cost(Usage(input_tokens=answer.usage.prompt_tokens))))
        if not getattr(answer, "data", None):
            raise BackendError(f"{self.name} sent no vectors{_HINT}")
        found = sorted(answer.data, key=lambda item: item.index)
        if len(found) != len(texts):
            raise BackendError(f"{self.name} gave {len(found)} vectors for {len(texts)} texts")
        return [item.embedding for item in found]

    def _load(self) -> Any:
        for problem in self.problems():
            raise ConfigError(Problem(problem, key="embedder"))
        return load("openai", self.extra, type(self).__name__).OpenAI(
            api_key=read_api_key(self.api_key_env) or "none",
            base_url=self.base_url,
            timeout=self.limits.timeout,
            max_retries=0,
        )
