"""One Ray cluster for all tests."""

import gc
import os
import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """Starts Ray once per session, in at most START_ATTEMPTS attempts of 30 s, and stops it at the end."""
    import ray
    from llmops_flows_ray.launch import start_ray

    reason = ""
    with warnings.catch_warnings():
        # Ray does not wait for the processes of an attempt that timed out. Collect them while this is ignored.
        warnings.filterwarnings("ignore", "subprocess .* is still running", ResourceWarning)
        try:
            start_ray({"address": None, "init": {"num_cpus": 2, "resources": {"seat": 1}}})
        except Exception as error:  # no shared memory, too few processes allowed, or a machine that is too busy
            reason = f"Ray does not start on this machine: {error}"
            ray.shutdown()
        gc.collect()
    if reason and "ray" in os.environ.get("LLMOPS_FLOWS_REQUIRE_SERVICES", "").split():
        pytest.fail(reason, pytrace=False)
    if reason:
        pytest.skip(reason)
    yield
    ray.shutdown()
