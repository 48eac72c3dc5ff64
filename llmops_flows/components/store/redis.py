"""`store=redis`: answers on a Redis server that many machines share."""

from __future__ import annotations

from typing import ClassVar

from llmops_flows.core.store import Store
from llmops_flows.stores.store_config import ServerStoreConfig


class Redis(ServerStoreConfig):
    """A Redis server, version 7 or newer."""

    requires: ClassVar[tuple[str, ...]] = ("redis",)
    extra: ClassVar[str] = "redis"

    def open(self) -> Store:
        from llmops_flows.stores.redis_store import RedisStore

        return RedisStore(self)
