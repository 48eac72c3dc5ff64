"""A backend that fails again and again is left alone for a while; time is fake where nothing real is asked."""

from __future__ import annotations

import asyncio

import pytest

from llmops_flows.calls.circuit_breaker import Breaker
from llmops_flows.calls.gate import Gate, ServiceCall
from llmops_flows.core.errors import BackendError
from llmops_flows.core.limits import Limits
from llmops_flows.testing.clock import FakeClock
from tests.support.stub_services import Service, down


async def test_a_dead_backend_gets_five_requests_and_then_one_per_cool_down(gate: Gate, clock: FakeClock) -> None:
    service, begun = Service(clock, down()), clock.now()
    for _ in range(1000):
        with pytest.raises(BackendError):
            await gate.call(ServiceCall("x", Limits(), service))
        clock.time = max(clock.time, begun) + 0.06
    cool_downs = (clock.now() - begun) / 30
    assert cool_downs > 1 and len(service.at) <= 5 + cool_downs


async def test_the_error_of_an_open_breaker_names_its_cause(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, down(503))
    for _ in range(2):
        with pytest.raises(BackendError, match="answered 503"):
            await gate.call(ServiceCall("x", Limits(), service))
    with pytest.raises(BackendError, match=r"x is not called for 30 s: 5 requests in a row failed.*answered 503"):
        await gate.call(ServiceCall("x", Limits(), service))
    assert len(service.at) == 5


async def test_a_backend_that_recovers_is_used_again(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, *[down()] * 5, "yes")
    for _ in range(2):
        with pytest.raises(BackendError):
            await gate.call(ServiceCall("x", Limits(), service))
    clock.time += 31
    assert await asyncio.gather(*(gate.call(ServiceCall("x", Limits(), service)) for _ in range(1))) == ["yes"]
    assert await asyncio.gather(*(gate.call(ServiceCall("x", Limits(), service)) for _ in range(3))) == ["yes"] * 3


def test_one_probe_at_a_time_and_a_failed_one_starts_the_cool_down_anew() -> None:
    breaker = Breaker(failures=1, cool_down=30)
    breaker.failed(0, "no", since=0)
    assert breaker.open_for(10) == 20
    assert breaker.open_for(30) == 0 and breaker.start()
    assert breaker.open_for(31) > 0
    breaker.failed(31, "no", since=30)
    breaker.end_probe()
    assert breaker.open_for(32) == 29


def test_a_cancelled_probe_allows_another() -> None:
    breaker = Breaker(failures=1, cool_down=30)
    breaker.failed(0, "no", since=0)
    assert breaker.start()
    breaker.end_probe()
    assert breaker.open_for(31) == 0


def test_failures_count_in_a_row_only() -> None:
    breaker = Breaker(failures=2, cool_down=30)
    for now in range(10):
        breaker.failed(now, "no", since=now)
        breaker.succeeded()
    assert breaker.open_for(10) == 0


def test_overlapping_refusals_count_as_one_failure() -> None:
    breaker = Breaker(failures=2, cool_down=30)
    for _ in range(20):
        breaker.failed(1, "busy", since=0, busy=True)
    assert breaker.open_for(1) == 0
    breaker.failed(3, "busy", since=2, busy=True)
    assert breaker.open_for(3) == 30


async def test_a_backend_that_refuses_requests_is_alive(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, down(400, retryable=False))
    for _ in range(20):
        with pytest.raises(BackendError, match="answered 400"):
            await gate.call(ServiceCall("x", Limits(), service))
    assert len(service.at) == 20


async def test_a_rejected_key_opens_the_breaker(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, down(401, retryable=False))
    for _ in range(20):
        with pytest.raises(BackendError, match="answered 401"):
            await gate.call(ServiceCall("x", Limits(), service))
    assert len(service.at) == 5
