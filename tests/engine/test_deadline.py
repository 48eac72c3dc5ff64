"""A call ends at its deadline, within its bounds, or at once when it is cancelled."""

from __future__ import annotations

import asyncio
import time

import pytest

from llmops_flows.calls.gate import Gate, ServiceCall
from llmops_flows.calls.retry import Allowance
from llmops_flows.core.errors import BackendError, DeadlineExceeded
from llmops_flows.core.limits import Limits
from llmops_flows.testing.clock import FakeClock
from tests.support.stub_services import Service, crowded, down, hang


async def test_a_call_that_hangs_ends_at_its_deadline() -> None:
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"x did not answer within 0.3 s; raise limits\.timeout"):
        await Gate().call(ServiceCall("x", Limits(timeout=0.3), hang))
    assert 0.3 <= time.monotonic() - begun < 0.33


async def test_a_backend_that_keeps_hanging_opens_the_breaker() -> None:
    gate = Gate(failures=2)
    for _ in range(2):
        with pytest.raises(DeadlineExceeded):
            await gate.call(ServiceCall("x", Limits(timeout=0.01), hang))
    with pytest.raises(BackendError, match="is not called for"):
        await gate.call(ServiceCall("x", Limits(timeout=0.01), hang))


async def test_the_deadline_holds_for_the_call_with_its_retries() -> None:
    tried = 0

    async def first_fails(seconds: float) -> str:
        nonlocal tried
        tried += 1
        if tried == 1:
            raise down()
        return await hang(seconds)

    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"previous attempt: answered 500.*2 attempts"):
        await Gate(chance=lambda: 0.0).call(ServiceCall("x", Limits(timeout=0.5), first_fails))
    assert 0.5 <= time.monotonic() - begun < 0.55


async def test_a_caller_may_stop_waiting_earlier() -> None:
    gate = Gate()
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"within 0\.(1|09\d+) s"):
        await gate.call(ServiceCall("x", Limits(timeout=9), hang, until=gate.clock.now() + 0.1))
    assert time.monotonic() - begun < 0.15


async def test_time_in_the_queue_counts_into_the_deadline_of_the_caller() -> None:
    gate = Gate()
    inside = asyncio.create_task(gate.call(ServiceCall("x", Limits(parallel=1), hang)))
    await asyncio.sleep(0)
    with pytest.raises(DeadlineExceeded, match="before a request could be sent"):
        await gate.call(ServiceCall("x", Limits(parallel=1), hang, until=gate.clock.now() + 0.05))
    inside.cancel()


async def test_a_timeout_of_the_attempt_itself_is_not_taken_for_the_deadline() -> None:
    async def own(seconds: float) -> str:
        raise TimeoutError("of a socket")

    with pytest.raises(TimeoutError, match="of a socket"):
        await Gate().call(ServiceCall("x", Limits(), own))


async def test_several_calls_for_one_answer_share_the_bounds(gate: Gate, clock: FakeClock) -> None:
    allowance, services = Allowance(), [Service(clock, down()) for _ in range(5)]
    for n, service in enumerate(services):
        with pytest.raises(BackendError):
            await gate.call(ServiceCall(f"backend {n}", Limits(), service, allowance=allowance))
    assert [len(service.at) for service in services] == [3, 3, 0, 0, 0]


# -- cancelling ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["rate", "place", "backoff", "request", "retry-after"])
async def test_cancelling_ends_a_call_at_once_in_every_phase(phase: str) -> None:
    gate, asked = Gate(chance=lambda: 1.0), 0
    limits = Limits(requests_per_minute=1 if phase == "rate" else None, parallel=1 if phase == "place" else None)

    async def attempt(seconds: float) -> str:
        nonlocal asked
        asked += 1
        if phase in ("backoff", "retry-after"):
            raise down(429 if phase == "retry-after" else 500, retry_after=30.0 if phase == "retry-after" else None)
        return "yes" if phase == "rate" else await hang(seconds)

    others = [
        asyncio.create_task(gate.call(ServiceCall("x", limits, attempt)))
        for _ in range(1 if phase in ("rate", "place") else 0)
    ]
    await asyncio.sleep(0.01)
    task, before = asyncio.create_task(gate.call(ServiceCall("x", limits, attempt))), asked
    await asyncio.sleep(0.02)
    begun = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - begun < 0.1
    await asyncio.sleep(0.6 if phase == "backoff" else 0.05)
    assert asked == (before if phase in ("rate", "place") else 1)
    [other.cancel() for other in others]
    await asyncio.gather(*others, return_exceptions=True)
    if phase in ("place", "request"):
        assert await gate.call(ServiceCall("x", Limits(parallel=1), crowded([]))) == "yes"
