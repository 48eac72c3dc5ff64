"""Base classes of store components: where a store is, and how it is opened."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import Field

from llmops_flows.core.stage import Part, Seconds
from llmops_flows.core.store import Store

ENVIRONMENT_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class StoreConfig(Part):
    """Where answers are stored. A store does not affect answers, so it is not part of an identity."""

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        return {"class": type(self).__qualname__, **(self.model_dump(mode="json") if include_operational else {})}

    @property
    def location(self) -> str:
        """The location in messages."""
        return type(self).__name__

    @property
    def may_hold_entries(self) -> bool:
        """False if the store certainly has no entries yet."""
        return True

    def open(self) -> Store:
        """The store, ready for use by many threads and processes."""
        raise TypeError(f"{type(self).__name__} must define open()")


class ServerStoreConfig(StoreConfig):
    """A store on a server that many machines share.

    Attributes:
        url_env: name of the environment variable that holds the server's URL, never the URL itself.
        namespace: stores with different namespaces on one server share nothing.
        timeout: seconds for connecting, and for each response.
        seal_env: name of the environment variable that holds the sealing secret (at least 16 characters). Machines
            with the same secret share their answers. Without a secret, `key` is used.
        key: file with a key of this machine only, created when first needed.
    """

    url_env: str
    namespace: str = Field(default="llmops_flows", pattern=r"^[\w.-]{1,100}$")
    timeout: Seconds = 5.0
    seal_env: str = "LLMOPS_FLOWS_SEAL"
    key: Path

    @property
    def location(self) -> str:
        return f"{type(self).__name__.lower()} at {self.url_env}, namespace {self.namespace}"

    def problems(self) -> list[str]:
        return [
            f"{name} must be the NAME of an environment variable; never write an address or key here"
            for name in ("url_env", "seal_env")
            if not ENVIRONMENT_VARIABLE.fullmatch(getattr(self, name))
        ]
