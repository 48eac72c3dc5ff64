"""Base of the chat models of network services: API key, prices, shared clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from llmops_flows.artifacts.resources import shared
from llmops_flows.calls.event_loop import background_loop
from llmops_flows.core.fingerprint import digest
from llmops_flows.core.roles import Model, Prices, Usage
from llmops_flows.core.stage import OPERATIONAL, Part

from ..service_settings import api_key_problems, base_url_problems, price_problems, read_api_key, with_listed_prices

T = TypeVar("T")


class Connection(Part):
    """The settings of a client object. Models with equal settings share one client.

    Attributes:
        library: the client library.
        base_url: URL of the API.
        account: further settings of the client, such as organization and project.
    """

    library: str
    base_url: str | None = None
    account: tuple[str | None, ...] = ()

    async def client(self, key: str, make: Callable[[], T]) -> T:
        """The client for a key, made once per process. `make` runs in a thread, because its import is slow."""
        return await asyncio.to_thread(shared, self, make, name=digest(key), close=close_client)


def close_client(client: Any) -> None:
    """Close an asynchronous client on the background loop, where its connections live, without waiting."""
    closing = client.close()
    try:
        asyncio.run_coroutine_threadsafe(closing, background_loop())
    except RuntimeError:
        closing.close()


def backend_name(provider: str, base_url: str | None, name: str) -> str:
    """The name of a service's model in the call gate."""
    host = f"{urlsplit(base_url).netloc.rpartition('@')[2]}/" if base_url else ""
    return f"{provider}/{host}{name}"


class ServiceModel(Model):
    """A chat model of a network service.

    With temperature 0, one answer per question is stored and reused, even if the model accepts no temperature.

    Attributes:
        base_url: URL of another service with the same API; None for the provider's API.
        api_key_env: name of the environment variable that holds the key, not the key itself.
        prices: US dollars per million tokens; None is replaced by the value in the price list.
        price_list: model name to its prices; a name with a date matches the name without it.
        extra_body: further fields of the request, sent unchanged.
    """

    needs_key: ClassVar[bool] = True
    base_url: str | None = None
    api_key_env: Annotated[str | None, OPERATIONAL] = None
    price_list: Annotated[dict[str, Prices], OPERATIONAL] = {}
    extra_body: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _find_prices(cls, data: Any) -> Any:
        return with_listed_prices(data, cls.model_fields["name"].default)

    @property
    def max_output_tokens(self) -> int:
        values = [self.extra_body.get(name) for name in ("max_tokens", "max_completion_tokens", "n")]
        *limits, answers = [value if type(value) is int and value > 0 else 0 for value in values]
        return max(self.max_tokens, *limits) * max(1, answers)

    def max_cost(self, inputs: Mapping[str, Any]) -> Usage:
        return super().max_cost({**inputs, "messages": [inputs.get("messages", ()), self.extra_body]})

    @property
    def backend(self) -> str:
        return backend_name(self.provider, self.base_url, self.name)

    @cached_property
    def connection(self) -> Connection:
        return Connection(library=self.provider, base_url=self.base_url)

    def api_key(self) -> str:
        """The key, read for each call so that it can be rotated; "" if it is not set."""
        return read_api_key(self.api_key_env)

    def problems(self) -> list[str]:
        keyless = not self.needs_key or self.base_url is not None
        return [
            *api_key_problems(self.api_key_env, keyless),
            *base_url_problems(self.base_url),
            *price_problems(self.name, self.prices, self.price_list, keyless),
        ]
