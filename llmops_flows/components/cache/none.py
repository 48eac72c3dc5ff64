"""`cache=none`: no answer is looked up or stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from llmops_flows.core.cache_policy import CachePolicy


class NoCache(CachePolicy):
    """Computes every answer and stores none."""

    enabled: ClassVar[bool] = False


def is_no_cache(config: Any) -> bool:
    """Whether the `cache` part of a run's config names `NoCache`."""
    return isinstance(config, Mapping) and config.get("_target_") == f"{NoCache.__module__}.{NoCache.__qualname__}"
