"""The link to a Redis server, for all threads of a process."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from llmops_flows.core.errors import StoreError
from llmops_flows.core.redaction import redact

from .server_store import import_client, server_url

if TYPE_CHECKING:
    from .store_config import ServerStoreConfig

T = TypeVar("T")


class RedisClient:
    """A client of the server that a config names. A connection that broke is opened again once.

    Raises:
        ConfigError: the environment has no URL.
        MissingExtra: redis-py is not installed.
        StoreError: the URL is none of a Redis server.
    """

    def __init__(self, config: ServerStoreConfig) -> None:
        self._redis = import_client("redis", config.extra, "store=redis")
        self.location = f"redis ({config.url_env}, namespace {config.namespace!r})"
        self.client = self._connected(server_url(config.url_env, "redis://:password@host:6379/0"), config)

    def ask(self, work: Callable[[], T]) -> T:
        """What work answers. Raises StoreError: the server cannot be reached, or refuses."""
        try:
            return work()
        except (self._redis.RedisError, OSError) as error:
            raise StoreError(redact(f"the store {self.location} failed: {error}")) from error

    def close(self) -> None:
        self.client.close()

    def _connected(self, url: str, config: ServerStoreConfig) -> Any:
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
            raise StoreError(redact(f"{config.url_env} is no URL of a Redis server: {error}")) from None
