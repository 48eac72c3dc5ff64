"""Models behind a network service: the key, the prices, one connection for all that ask alike."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from llmops_flows.core.redaction import register_secret
from llmops_flows.core.roles import Prices
from llmops_flows.text.suggestions import unknown_reference_hint

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DATED = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2}|latest)$")


def read_api_key(api_key_env: str | None) -> str:
    """The key that an environment variable holds; "" where there is none."""
    found = os.environ.get(api_key_env or "", "").strip()
    register_secret(found)
    return found


def api_key_problems(api_key_env: str | None, keyless: bool) -> list[str]:
    """What is wrong with a key; `keyless`: the service may want none."""
    if api_key_env and not _NAME.fullmatch(api_key_env):
        return ["api_key_env must be the NAME of an environment variable; it is none (a key never stands here)"]
    key = read_api_key(api_key_env)
    if not key and not keyless:
        return [f"the environment has no {api_key_env}; set it: export {api_key_env}=…"]
    if not (key.isascii() and key.isprintable()) or " " in key:
        return [f"{api_key_env} holds white space or characters that no key has; set it again"]
    return []


def base_url_problems(base_url: str | None) -> list[str]:
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


def with_listed_prices(data: Any, name: str) -> Any:
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
