"""Models behind a network service: the key, the prices, one connection for all that ask alike."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from llmops_flows.artifacts.resources import shared
from llmops_flows.core.fingerprint import digest
from llmops_flows.core.redaction import register_secret
from llmops_flows.core.roles import Model, Prices, Usage
from llmops_flows.core.stage import OPERATIONAL, Part
from llmops_flows.engine.event_loop import background_loop
from llmops_flows.text.suggestions import unknown_reference_hint

T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DATED = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2}|latest)$")


class Connection(Part):
    """What one client object reaches: models that differ only in how they ask share it.

    Attributes:
        library: whose client it is.
        base_url: where it calls.
        account: what else it sends with each call, as organization or project.
    """

    library: str
    base_url: str | None = None
    account: tuple[str | None, ...] = ()

    async def client(self, key: str, make: Callable[[], T]) -> T:
        """The client for a key, made once per process by `make`, outside the event loop (its import takes long)."""
        return await asyncio.to_thread(shared, self, make, name=digest(key), close=_close)


def _close(client: Any) -> None:
    """Close an asynchronous client on the loop that its connections live on; nobody waits for it."""
    work = client.close()
    try:
        asyncio.run_coroutine_threadsafe(work, background_loop())
    except RuntimeError:
        work.close()


def key_of(api_key_env: str | None) -> str:
    """The key that an environment variable holds; "" where there is none."""
    found = os.environ.get(api_key_env or "", "").strip()
    register_secret(found)
    return found


def key_problems(api_key_env: str | None, keyless: bool) -> list[str]:
    """What is wrong with a key; `keyless`: the service may want none."""
    if api_key_env and not _NAME.fullmatch(api_key_env):
        return ["api_key_env must be the NAME of an environment variable; it is none (a key never stands here)"]
    key = key_of(api_key_env)
    if not key and not keyless:
        return [f"the environment has no {api_key_env}; set it: export {api_key_env}=…"]
    if not (key.isascii() and key.isprintable()) or " " in key:
        return [f"{api_key_env} holds white space or characters that no key has; set it again"]
    return []


def url_problems(base_url: str | None) -> list[str]:
    """What is wrong with the address of a service."""
    if base_url is None:
        return []
    try:
        parts = urlsplit(base_url)
    except ValueError:
        return ["base_url cannot be read; as an example: http://127.0.0.1:8080/v1"]
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return ["base_url must begin with http:// or https:// and name a host, as http://127.0.0.1:8080/v1"]
    if "@" in parts.netloc:
        return ["base_url must hold no user or password; put the key into the variable that api_key_env names"]
    return []


def price_problems(name: str, prices: Prices, listed: Mapping[str, Prices], keyless: bool) -> list[str]:
    """What is wrong with the prices of a service; `keyless`: it may cost nothing."""
    if keyless or prices.model_fields_set:
        return []
    return [
        f"no price of {name!r} is known, so that its cost could be neither told nor limited; give "
        "prices.input and prices.output (US dollars per million tokens; 0 if it costs nothing); "
        + unknown_reference_hint(name, listed)
    ]


def priced(data: Any, name: str) -> Any:
    """The fields of a service with its prices: those that were given, the others from its price list, by its name."""
    if not isinstance(data, Mapping) or isinstance(data.get("prices"), Prices):
        return data
    name, known = str(data.get("name") or name), data.get("price_list") or {}
    found = known.get(name) or known.get(_DATED.sub("", name)) or {}
    listed = found.model_dump(exclude_unset=True) if isinstance(found, Prices) else dict(found)
    given = data.get("prices") or {}
    if not isinstance(given, Mapping):
        return data
    chosen = {k: v for k, v in given.items() if v is not None or k not in Prices.model_fields}
    return {**data, "prices": {**listed, **chosen}}


class ServiceModel(Model):
    """A model behind a network service.

    Temperature 0 means that one answer to a question is enough: it is kept, also where the family of the model
    always draws (such models take no temperature; it is not sent to them).

    Attributes:
        base_url: another service that speaks the same protocol; None: the provider's own.
        api_key_env: name of the environment variable that holds the key, never the key itself.
        prices: US dollars per million tokens; a figure that is None comes from the price list.
        price_list: model name to its prices; a dated name counts as the name without its date.
        extra_body: further fields of the request, as they are; what the service understands is its business.
    """

    needs_key: ClassVar[bool] = True
    base_url: str | None = None
    api_key_env: Annotated[str | None, OPERATIONAL] = None
    price_list: Annotated[dict[str, Prices], OPERATIONAL] = {}
    extra_body: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _find_prices(cls, data: Any) -> Any:
        return priced(data, cls.model_fields["name"].default)

    @property
    def max_output_tokens(self) -> int:
        wanted = [self.extra_body.get(name) for name in ("max_tokens", "max_completion_tokens", "n")]
        *rooms, answers = [number if type(number) is int and number > 0 else 0 for number in wanted]
        return max(self.max_tokens, *rooms) * max(1, answers)

    def max_cost(self, inputs: Mapping[str, Any]) -> Usage:
        return super().max_cost({**inputs, "messages": [inputs.get("messages", ()), self.extra_body]})

    @property
    def backend(self) -> str:
        place = f"{urlsplit(self.base_url).netloc.rpartition('@')[2]}/" if self.base_url else ""
        return f"{self.provider}/{place}{self.name}"

    @cached_property
    def connection(self) -> Connection:
        return Connection(library=self.provider, base_url=self.base_url)

    def api_key(self) -> str:
        """The key, read anew for each call so that it may change; "" where there is none."""
        return key_of(self.api_key_env)

    def problems(self) -> list[str]:
        keyless = not self.needs_key or self.base_url is not None
        return [
            *key_problems(self.api_key_env, keyless),
            *url_problems(self.base_url),
            *price_problems(self.name, self.prices, self.price_list, keyless),
        ]
