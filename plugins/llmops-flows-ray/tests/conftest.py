"""One Ray cluster for all tests."""

import gc
import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """Starts Ray once per session, in at most START_ATTEMPTS attempts of 30 s, and stops it at the end."""
    import ray
    from llmops_flows_ray.launch import start_ray

    try:
        start_ray({"address": None, "init": {"num_cpus": 2, "resources": {"seat": 1}}})
    except Exception as error:  # no shared memory, or too few processes allowed
        if "ray" in os.environ.get("LLMOPS_FLOWS_REQUIRE_SERVICES", "").split():
            raise
        pytest.skip(f"Ray does not start on this machine: {error}")
    gc.collect()  # warns of processes of timed-out attempts now, while the first test ignores the warning
    yield
    ray.shutdown()
