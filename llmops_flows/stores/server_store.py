"""Base class of stores on a server: the key that seals their rows, and the server's URL."""

from __future__ import annotations

import logging
import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmops_flows.core.errors import ConfigError, Problem

from .maintenance import StoreMaintenance, batches, valid_values
from .seal import seal, sealing_key
from .store_config import ServerStoreConfig

log = logging.getLogger("llmops_flows.store")

_MIN_SECRET = 16
_VALUES_BATCH = 50


class ServerStore(StoreMaintenance):
    """A store whose rows are sealed with a key that the server does not know.

    Rows that do not match their seal or address are dropped and counted in `counters` (`bad_seal`, `bad_value`). A
    lost connection is reopened once, so every operation is idempotent.

    Raises:
        ConfigError: the environment has no URL, or the sealing secret is too short.
        MissingExtra: the client library is not installed.
        StoreError: the server cannot be reached, or rejects the operation.
    """

    def __init__(self, config: ServerStoreConfig) -> None:
        self._config = config
        self.counters: Counter[str] = Counter()
        self._key = _namespace_key(config.namespace, config.seal_env, config.key)
        # Each key has its own space, so that processes with another key do not drop its rows.
        self._space = f"{config.namespace}/{seal(self._key, 'space', b'').hex()[:12]}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._config,)

    def values(self, addresses: Sequence[str]) -> Mapping[str, bytes]:
        values: dict[str, bytes] = {}
        for part in batches(addresses, _VALUES_BATCH):
            good, bad = self.check_values(part)
            values.update(good)
            if bad:
                self._count_dropped("bad_value", bad)
                self._drop_values(bad)
        return values

    def check_values(self, addresses: Sequence[str]) -> tuple[dict[str, bytes], list[str]]:
        return valid_values(self._read_values(addresses))

    @abstractmethod
    def _read_values(self, addresses: Sequence[str]) -> Mapping[str, bytes]:
        """The stored values, unchecked."""

    @abstractmethod
    def _drop_values(self, addresses: list[str]) -> None:
        """Delete values, whether or not entries refer to them."""

    def _count_dropped(self, reason: str, names: Sequence[str]) -> None:
        if not self.counters[reason]:
            name = f"{type(self._config).__name__.lower()} ({self._config.url_env})"
            log.warning("the store %s holds damaged rows: they are dropped and computed again", name)
        self.counters[reason] += len(names)


def server_url(url_env: str, example: str) -> str:
    """The server's URL from an environment variable. Raises ConfigError if it is not set."""
    url = os.environ.get(url_env, "").strip()
    if not url:
        hint = f"set it: export {url_env}={example}"
        raise ConfigError(Problem(f"the environment has no {url_env}", key="store.url_env", hint=hint))
    return url


def _namespace_key(namespace: str, seal_env: str, path: Path) -> bytes:
    """The key that seals the rows of a namespace.

    It is derived from the secret in the environment variable, which machines that share answers have in common. Without
    a secret, it is derived from a key file of this machine, which then shares no answers with others. An attacker with
    the server's password but without the key can delete rows, but cannot write a row that is accepted.

    Raises:
        ConfigError: the secret is too short.
        StoreError, OSError: the key file cannot be used.
    """
    secret = os.environ.get(seal_env, "").strip()
    if secret and len(secret) < _MIN_SECRET:
        what = f"{seal_env} has fewer than {_MIN_SECRET} characters"
        hint = f"export {seal_env}=$(openssl rand -hex 32), the same on every machine"
        raise ConfigError(Problem(what, key="store.seal_env", hint=hint))
    if not secret:
        path.parent.mkdir(parents=True, exist_ok=True)
    return seal(secret.encode() if secret else sealing_key(path), "llmops_flows store", namespace, b"")
