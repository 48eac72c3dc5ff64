"""One Ray cluster for all tests, which ends with them."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    import ray
    from llmops_flows_ray.launch import started

    try:
        started({"address": None, "init": {"num_cpus": 2, "resources": {"licence": 1}}})
    except Exception as error:  # no shared memory, too few processes allowed, too busy: nothing of ours
        pytest.skip(f"Ray does not start on this machine: {error}")
    yield
    ray.shutdown()
