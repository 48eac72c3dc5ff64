"""One Ray cluster for all tests, without usage reports, with the time that a busy machine needs to start it."""

import os
from collections.abc import Iterator

import pytest

os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_raylet_start_wait_time_s="120")


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    import ray

    ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", logging_level="ERROR")
    yield
    ray.shutdown()
