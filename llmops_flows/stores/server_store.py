"""What stores on a server share: whose rows they believe, where the server is, and its client library."""

from __future__ import annotations

import importlib
import logging
import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_flows.core.errors import ConfigError, MissingExtra, Problem

from .maintenance import StoreMaintenance, batches, valid_values
from .seal import seal, sealing_key

if TYPE_CHECKING:
    from .store_config import ServerStoreConfig

log = logging.getLogger("llmops_flows.store")

LEAST = 16
"""Characters that a shared sealing secret must have."""


class ServerStore(StoreMaintenance):
    """What stores on a server have in common: rows sealed by a key that the server does not know.

    What cannot be trusted is dropped and counted in `counters` (`bad_seal`, `bad_value`). A connection that broke
    is opened again once; every operation may safely be done twice.

    Raises:
        ConfigError: the environment has no URL, or a sealing secret that is none.
        MissingExtra: the client library is not installed.
        StoreError: the server cannot be reached, or refuses.
    """

    def __init__(self, config: ServerStoreConfig) -> None:
        self._config = config
        self.counters: Counter[str] = Counter()
        self._key = namespace_key(config.namespace, config.seal_env, config.key)
        self._space = keyspace(config.namespace, self._key)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._config,)

    def values(self, addresses: Sequence[str]) -> Mapping[str, bytes]:
        known: dict[str, bytes] = {}
        for part in batches(addresses, 50):
            found, bad = self.check_values(part)
            known.update(found)
            if bad:
                self._dropped("bad_value", bad)
                self._drop_values(bad)
        return known

    def check_values(self, addresses: Sequence[str]) -> tuple[dict[str, bytes], list[str]]:
        return valid_values(self._data(addresses))

    @abstractmethod
    def _data(self, addresses: Sequence[str]) -> Mapping[str, bytes]:
        """The values that are there, as they are."""

    @abstractmethod
    def _drop_values(self, addresses: list[str]) -> None:
        """Remove values, whoever needs them."""

    def _dropped(self, reason: str, names: Sequence[str]) -> None:
        if not self.counters[reason]:
            place = f"{type(self._config).__name__.lower()} ({self._config.url_env})"
            log.warning("the store %s holds damaged rows: they are dropped and computed again", place)
        self.counters[reason] += len(names)


def import_client(name: str, extra: str, needed_by: str) -> Any:
    """The client library. Raises MissingExtra with the install line."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != name.partition(".")[0]:
            raise
        raise MissingExtra(name, extra, needed_by) from error


def server_url(url_env: str, example: str) -> str:
    """The server's URL, from an environment variable. Raises ConfigError: there is none."""
    url = os.environ.get(url_env, "").strip()
    if not url:
        hint = f"set it: export {url_env}={example}"
        raise ConfigError(Problem(f"the environment has no {url_env}", key="store.url_env", hint=hint))
    return url


def namespace_key(namespace: str, seal_env: str, path: Path) -> bytes:
    """The key that seals the rows of a namespace.

    From the secret in the environment variable, which all machines that shall share answers are given; else from a
    key file that this machine makes for itself: then other machines see none of its rows, and it none of theirs.
    Whoever has the server's password but not the key can make rows vanish, but no row that is believed.

    Raises:
        ConfigError: the secret is too short to be one.
        StoreError, OSError: the key file cannot be used.
    """
    secret = os.environ.get(seal_env, "").strip()
    if secret and len(secret) < LEAST:
        what = f"{seal_env} has fewer than {LEAST} characters"
        hint = f"export {seal_env}=$(openssl rand -hex 32), the same on every machine"
        raise ConfigError(Problem(what, key="store.seal_env", hint=hint))
    if not secret:
        path.parent.mkdir(parents=True, exist_ok=True)
    return seal(secret.encode() if secret else sealing_key(path), "llmops_flows store", namespace, b"")


def keyspace(namespace: str, key: bytes) -> str:
    """Where the rows lie: those of another key are out of sight, so that nobody drops what others believe."""
    return f"{namespace}/{seal(key, 'space', b'').hex()[:12]}"
