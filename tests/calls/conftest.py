"""What several tests of the gate share."""

from __future__ import annotations

import pytest

from llmops_flows.calls.gate import Gate
from llmops_flows.testing.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def gate(clock: FakeClock) -> Gate:
    return Gate(clock=clock, chance=lambda: 1.0)
