"""API key, base URL and prices of hosted models and embedders, and their checks."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from llmops_flows.core.redaction import register_secret
from llmops_flows.core.roles import Prices
from llmops_flows.text.suggestions import unknown_reference_hint

_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DATE_SUFFIX = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2}|latest)$")


def read_api_key(api_key_env: str | None) -> str:
    """The value of an environment variable, registered as a secret to be masked; "" if it is not set."""
    key = os.environ.get(api_key_env or "", "").strip()
    register_secret(key)
    return key


def api_key_problems(api_key_env: str | None, keyless: bool) -> list[str]:
    """The problems of an API key. `keyless`: the service may not need one."""
    if api_key_env and not _VARIABLE_NAME.fullmatch(api_key_env):
        return ["api_key_env must be the name of an environment variable, not the key itself"]
    key = read_api_key(api_key_env)
    if not key and not keyless:
        return [f"the environment variable {api_key_env} is not set; set it: export {api_key_env}=…"]
    if not (key.isascii() and key.isprintable()) or " " in key:
        return [f"{api_key_env} contains white space or characters that are not valid in a key; set it again"]
    return []


def base_url_problems(base_url: str | None) -> list[str]:
    """The problems of the base URL of a service."""
    if base_url is None:
        return []
    try:
        parts = urlsplit(base_url)
    except ValueError:
        return ["base_url is not a valid URL; an example: http://127.0.0.1:8080/v1"]
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return ["base_url must start with http:// or https:// and have a host, such as http://127.0.0.1:8080/v1"]
    if "@" in parts.netloc:
        return ["base_url must not contain a user or password; put the key in the variable that api_key_env names"]
    return []


def price_problems(name: str, prices: Prices, listed: Mapping[str, Prices], keyless: bool) -> list[str]:
    """The problems of the prices of a service. `keyless`: it may be free."""
    if keyless or prices.model_fields_set:
        return []
    return [
        f"the price of {name!r} is unknown, so its cost cannot be reported or limited; set "
        "prices.input and prices.output (US dollars per million tokens; 0 if it is free); "
        + unknown_reference_hint(name, listed)
    ]


def with_listed_prices(data: Any, name: str) -> Any:
    """The fields of a service, with prices that are not set read from its price list by model name."""
    if not isinstance(data, Mapping) or isinstance(data.get("prices"), Prices):
        return data
    name, price_list = str(data.get("name") or name), data.get("price_list") or {}
    entry = price_list.get(name) or price_list.get(_DATE_SUFFIX.sub("", name)) or {}
    listed = entry.model_dump(exclude_unset=True) if isinstance(entry, Prices) else dict(entry)
    prices = data.get("prices") or {}
    if not isinstance(prices, Mapping):
        return data
    chosen = {k: v for k, v in prices.items() if v is not None or k not in Prices.model_fields}
    return {**data, "prices": {**listed, **chosen}}
