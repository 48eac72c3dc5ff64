"""`embedder=openai`: OpenAI's embeddings API, or another service with the same API."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, ClassVar

from pydantic import model_validator

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.artifacts.resources import shared
from llmops_flows.calls.budget_account import Amount
from llmops_flows.calls.call_context import call_service
from llmops_flows.calls.service_errors import backend_error
from llmops_flows.core.errors import BackendError, ConfigError, Problem
from llmops_flows.core.limits import Limits
from llmops_flows.core.roles import Embedder, Prices, Usage, Vectors, most_tokens
from llmops_flows.core.stage import OPERATIONAL, Positive

from ..model.service_model import backend_name, close_client
from ..service_settings import api_key_problems, base_url_problems, price_problems, read_api_key, with_listed_prices

_HINT = "; check base_url, which ends in /v1 for most services"


class OpenAIEmbeddings(Embedder):
    """An embedding model of OpenAI, or of a compatible service.

    Attributes:
        name: name of the model at the service.
        dimensions: length of the vectors, if the model supports several.
        base_url: URL of another service with the same API.
        api_key_env: name of the environment variable that holds the key.
        limits: timeout, attempts and rate limits.
        batch: texts per request.
        prices: US dollars per million tokens; None is replaced by the value in `price_list` (model name to prices).
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
        client = shared(self, self._load, close=close_client)
        rows: list[list[float]] = []
        for start in range(0, len(texts), self.batch):
            rows += self._embed_batch(client, [text or " " for text in texts[start : start + self.batch]])
        vectors = numpy.asarray(rows, dtype="float32").reshape(len(rows), -1 if rows else self.dimensions or 1)
        return vectors / numpy.maximum(numpy.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def _embed_batch(self, client: Any, texts: list[str]) -> list[list[float]]:
        rows, _ = call_service(
            backend_name("openai", self.base_url, self.name),
            self.limits,
            partial(self._request, client, texts),
            max_cost=Amount.of(self.prices.max_cost(most_tokens(texts), 0)),
            cost=lambda answer: Amount.of(answer[1]) if answer[1] else None,
        )
        return rows

    async def _request(self, client: Any, texts: list[str], seconds: float) -> tuple[list[list[float]], Usage]:
        """The vectors of one request, and its usage (empty if the service reports none)."""
        openai = load("openai", self.extra)
        options: dict[str, Any] = {"dimensions": self.dimensions} if self.dimensions else {}
        try:
            answer = await client.embeddings.create(
                model=self.name, input=texts, encoding_format="float", timeout=seconds + 1, **options
            )
        except openai.OpenAIError as error:
            raise backend_error(error, self.name) from None
        except ValueError:
            raise BackendError(f"{self.name} returned a response that is not JSON{_HINT}") from None
        reported = getattr(answer, "usage", None)
        usage = Usage() if reported is None else self.prices.cost(Usage(input_tokens=reported.prompt_tokens))
        if not getattr(answer, "data", None):
            raise BackendError(f"{self.name} returned no vectors{_HINT}", usage=usage)
        if len(answer.data) != len(texts):
            raise BackendError(f"{self.name} returned {len(answer.data)} vectors for {len(texts)} texts", usage=usage)
        return [item.embedding for item in sorted(answer.data, key=lambda item: item.index)], usage

    def _load(self) -> Any:
        for problem in self.problems():
            raise ConfigError(Problem(problem, key="embedder"))
        return load("openai", self.extra, type(self).__name__).AsyncOpenAI(
            api_key=read_api_key(self.api_key_env) or "none",
            base_url=self.base_url,
            timeout=None,  # the call gate enforces the deadline
            max_retries=0,
        )
