"""`cache=exact`: two questions are the same when their texts are equal."""

from __future__ import annotations

from llmops_flows.core.cache_policy import CachePolicy


class ExactCache(CachePolicy):
    """Compares questions character by character."""
