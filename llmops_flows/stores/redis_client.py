"""The connection to a Redis server, shared by all threads of a process."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.core.errors import StoreError
from llmops_flows.core.redaction import redact

from .server_store import server_url
from .store_config import ServerStoreConfig

T = TypeVar("T")


class RedisClient:
    """A redis-py client for the server of a config. A lost connection is reopened once.

    Raises:
        ConfigError: the environment has no URL.
        MissingExtra: redis-py is not installed.
        StoreError: the URL is not the URL of a Redis server.
    """

    def __init__(self, config: ServerStoreConfig) -> None:
        self._redis = load("redis", config.extra, "store=redis")
        self._location = f"redis ({config.url_env}, namespace {config.namespace!r})"
        self.client = self._connect(server_url(config.url_env, "redis://:password@host:6379/0"), config)

    def run(self, work: Callable[[], T]) -> T:
        """The result of `work`. Raises StoreError: the server cannot be reached, or rejects the command."""
        try:
            return work()
        except (self._redis.RedisError, OSError) as error:
            raise StoreError(redact(f"the store {self._location} failed: {error}")) from error

    def close(self) -> None:
        self.client.close()

    def _connect(self, url: str, config: ServerStoreConfig) -> Any:
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        try:
            return self._redis.Redis.from_url(
                url,
                decode_responses=False,
                socket_timeout=config.timeout,
                socket_connect_timeout=config.timeout,
                socket_keepalive=True,
                health_check_interval=30,
                retry=Retry(NoBackoff(), 1, supported_errors=(self._redis.ConnectionError,)),
                client_name=f"llmops_flows-{os.getpid()}",
            )
        except ValueError as error:
            raise StoreError(redact(f"{config.url_env} is not the URL of a Redis server: {error}")) from None
