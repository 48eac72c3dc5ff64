"""One Ray cluster for all tests, which ends with them."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    import ray
    from llmops_flows_ray.launch import started

    started({"address": None, "init": {"num_cpus": 2, "resources": {"licence": 1}}})
    yield
    ray.shutdown()
