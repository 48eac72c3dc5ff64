"""The gate lets calls go as its limits say; time is fake where nothing real is asked."""

from __future__ import annotations

import asyncio

import pytest

from llmops_flows.calls.concurrency import FairSemaphore
from llmops_flows.calls.gate import Gate, ServiceCall
from llmops_flows.core.errors import BackendError
from llmops_flows.core.limits import Limits
from llmops_flows.testing.clock import FakeClock
from tests.support.stub_services import Service, crowded, down


async def test_a_failure_is_retried_after_growing_pauses(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, down(), down(), "yes")
    assert await gate.call(ServiceCall("x", Limits(), service)) == "yes"
    assert [at - service.at[0] for at in service.at] == [0, 0.5, 1.5]


async def test_a_call_sends_at_most_three_requests(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, down())
    with pytest.raises(BackendError, match=r"answered 500 \(3 attempts\)"):
        await gate.call(ServiceCall("x", Limits(), service))
    assert len(service.at) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_a_final_status_is_not_retried(gate: Gate, clock: FakeClock, status: int) -> None:
    service = Service(clock, down(status, retryable=True))
    with pytest.raises(BackendError):
        await gate.call(ServiceCall("x", Limits(), service))
    assert len(service.at) == 1


async def test_a_used_up_quota_is_not_retried(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, down(429, retryable=False, retry_after=1.0))
    with pytest.raises(BackendError):
        await gate.call(ServiceCall("x", Limits(), service))
    assert len(service.at) == 1


async def test_an_error_in_the_code_is_not_retried(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, ZeroDivisionError("no"))
    with pytest.raises(ZeroDivisionError):
        await gate.call(ServiceCall("x", Limits(), service))
    assert len(service.at) == 1


async def test_retry_after_is_waited_for(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, down(429, retry_after=20.0), "yes")
    assert await gate.call(ServiceCall("x", Limits(), service)) == "yes"
    assert service.at[1] - service.at[0] >= 20


async def test_retry_after_holds_for_every_call_to_that_backend(gate: Gate, clock: FakeClock) -> None:
    first, second, elsewhere = (Service(clock, *a) for a in ((down(429, retry_after=20.0), "yes"), ("yes",), ("yes",)))

    async def later(backend: str, service: Service) -> None:
        await clock.sleep(1)
        await gate.call(ServiceCall(backend, Limits(), service))

    begun = clock.now()
    await asyncio.gather(gate.call(ServiceCall("x", Limits(), first)), later("x", second), later("y", elsewhere))
    assert second.at[0] - begun >= 20
    assert elsewhere.at[0] - begun == 1


async def test_a_retry_after_beyond_the_deadline_fails_at_once_and_says_what_was_asked(
    gate: Gate, clock: FakeClock
) -> None:
    service, begun = Service(clock, down(429, retry_after=600.0)), clock.now()
    with pytest.raises(BackendError, match=r"pause of 600 s .*call has 60 s left.*limits\.timeout") as caught:
        await gate.call(ServiceCall("x", Limits(timeout=60), service))
    assert (caught.value.status, caught.value.retry_after, clock.now() - begun) == (429, 600.0, 0)


async def test_later_calls_fail_at_once_until_the_pause_is_over(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, down(429, retry_after=600.0), "yes")
    for _ in range(3):
        with pytest.raises(BackendError, match="requires a pause of 600 s"):
            await gate.call(ServiceCall("x", Limits(timeout=60), service))
    assert len(service.at) == 1
    clock.time += 560
    assert await gate.call(ServiceCall("x", Limits(timeout=60), service)) == "yes"
    assert service.at[1] - service.at[0] >= 600


async def test_no_attempt_starts_without_time_for_it(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, down())
    with pytest.raises(BackendError, match="2 attempts"):
        await gate.call(ServiceCall("x", Limits(timeout=1.2), service))
    assert len(service.at) == 2


async def test_an_answer_that_a_reader_has_started_to_see_is_not_repeated(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, down(), "yes")
    with pytest.raises(BackendError):
        await gate.call(ServiceCall("x", Limits(), service, repeatable=lambda: False))
    assert len(service.at) == 1


# -- the rate --------------------------------------------------------------------------------------------------------


async def test_requests_keep_the_distance_that_the_rate_asks_for(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, "yes")
    limits = Limits(requests_per_minute=60, timeout=5)
    await asyncio.gather(*(gate.call(ServiceCall("x", limits, service)) for _ in range(120)))
    gaps = [b - a for a, b in zip(service.at, service.at[1:], strict=False)]
    assert min(gaps) >= 1.0
    assert 119 / (service.at[-1] - service.at[0]) >= 0.95
    assert max(len([at for at in service.at if start <= at < start + 60]) for start in service.at) <= 60


async def test_one_of_several_processes_keeps_to_its_share_of_the_rate(gate: Gate, clock: FakeClock) -> None:
    gate.processes = 4
    service = Service(clock, "yes")
    await asyncio.gather(*(gate.call(ServiceCall("x", Limits(requests_per_minute=60), service)) for _ in range(3)))
    assert [round(at - service.at[0], 2) for at in service.at] == [0, 4.08, 8.16]


async def test_time_in_the_queue_does_not_count_into_the_timeout(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, "yes")
    limits = Limits(requests_per_minute=60, timeout=1)
    assert await asyncio.gather(*(gate.call(ServiceCall("x", limits, service)) for _ in range(30))) == ["yes"] * 30


async def test_a_retry_waits_before_calls_that_have_not_started(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, down(), "yes")
    limits = Limits(requests_per_minute=60, timeout=5)
    assert await asyncio.gather(*(gate.call(ServiceCall("x", limits, service)) for _ in range(50))) == ["yes"] * 50


async def test_backends_do_not_wait_for_each_other(gate: Gate, clock: FakeClock) -> None:
    service, begun = Service(clock, "yes"), clock.now()
    for name in ("x", "y"):
        await gate.call(ServiceCall(name, Limits(requests_per_minute=1), service))
    assert service.at == [begun, begun]


# -- the places ------------------------------------------------------------------------------------------------------


async def test_at_most_parallel_calls_run_at_once() -> None:
    gate, places = Gate(), list[int]()
    attempt = crowded(places)
    await asyncio.gather(*(gate.call(ServiceCall("x", Limits(parallel=3), attempt)) for _ in range(12)))
    assert max(places) == 3


async def test_one_of_several_processes_keeps_to_its_share_of_the_places() -> None:
    gate, inside, most = Gate(), 0, 0
    gate.processes = 3

    async def service(seconds: float) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.01)
        inside -= 1

    await asyncio.gather(*(gate.call(ServiceCall("x", Limits(parallel=8), service, parallel=5)) for _ in range(9)))
    assert most == 2


async def test_the_semaphore_admits_the_next_after_a_cancel_at_any_moment() -> None:
    for moment in (0.0, 0.001, 0.01, 0.015):
        semaphore = FairSemaphore()

        async def stay(semaphore: FairSemaphore = semaphore) -> None:
            async with semaphore.acquire(1):
                await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(stay()) for _ in range(4)]
        await asyncio.sleep(moment)
        tasks[0].cancel()
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(0.5), semaphore.acquire(1):
            pass


async def test_a_caller_that_is_admitted_and_cancelled_at_once_leaves_its_place_to_the_next() -> None:
    semaphore, order = FairSemaphore(), list[str]()

    async def stay(name: str) -> None:
        async with semaphore.acquire(1):
            order.append(name)

    async with semaphore.acquire(1):
        second = asyncio.create_task(stay("second"))
        third = asyncio.create_task(stay("third"))
        await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait_for(third, 0.5)
    assert order == ["third"]
