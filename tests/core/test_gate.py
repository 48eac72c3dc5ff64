"""The gate lets calls go as its limits say; time is fake where nothing real is asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from llmops_flows.core.breaker import Breaker
from llmops_flows.core.door import Door
from llmops_flows.core.errors import BackendError, DeadlineExceeded
from llmops_flows.core.gate import Gate, Limits
from llmops_flows.core.retry import Allowance
from llmops_flows.testing.clock import FakeClock


class Service:
    """Answers what it is told, in order, the last for ever; `at` is when it was asked, by the fake clock."""

    def __init__(self, clock: FakeClock, *answers: Any) -> None:
        self.clock = clock
        self.answers = list(answers)
        self.at: list[float] = []

    async def __call__(self, seconds: float) -> str:
        self.at.append(self.clock.now())
        answer = self.answers[min(len(self.at), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return str(answer)


def down(status: int = 500, **details: Any) -> BackendError:
    return BackendError(f"answered {status}", **{"status": status, "retryable": True, **details})


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def gate(clock: FakeClock) -> Gate:
    return Gate(clock=clock, chance=lambda: 1.0)


async def test_a_failure_is_tried_again_after_a_growing_pause(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, down(), down(), "yes")
    assert await gate.call("x", Limits(), service) == "yes"
    assert [at - service.at[0] for at in service.at] == [0, 0.5, 1.5]


async def test_three_requests_are_the_most_and_the_error_tells_it(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, down())
    with pytest.raises(BackendError, match=r"answered 500 \(asked 3 times\)"):
        await gate.call("x", Limits(), service)
    assert len(service.at) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_what_another_try_cannot_mend_is_not_tried_again(gate: Gate, clock: FakeClock, status: int) -> None:
    service = Service(clock, down(status, retryable=True))
    with pytest.raises(BackendError):
        await gate.call("x", Limits(), service)
    assert len(service.at) == 1


async def test_a_used_up_quota_is_not_tried_again(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, down(429, retryable=False, retry_after=1.0))
    with pytest.raises(BackendError):
        await gate.call("x", Limits(), service)
    assert len(service.at) == 1


async def test_a_mistake_in_the_code_is_not_tried_again(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, ZeroDivisionError("no"))
    with pytest.raises(ZeroDivisionError):
        await gate.call("x", Limits(), service)
    assert len(service.at) == 1


async def test_retry_after_is_waited_for(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, down(429, retry_after=20.0), "yes")
    assert await gate.call("x", Limits(), service) == "yes"
    assert service.at[1] - service.at[0] >= 20


async def test_retry_after_holds_for_every_call_to_that_backend(gate: Gate, clock: FakeClock) -> None:
    first, second, elsewhere = (
        Service(clock, *a) for a in ((down(429, retry_after=20.0), "yes"), ("yes",), ("yes",))
    )

    async def later(backend: str, service: Service) -> None:
        await clock.sleep(1)
        await gate.call(backend, Limits(), service)

    begun = clock.now()
    await asyncio.gather(gate.call("x", Limits(), first), later("x", second), later("y", elsewhere))
    assert second.at[0] - begun >= 20
    assert elsewhere.at[0] - begun == 1


async def test_a_retry_after_beyond_the_deadline_fails_at_once_and_says_what_was_asked(
    gate: Gate, clock: FakeClock
) -> None:
    service, begun = Service(clock, down(429, retry_after=600.0)), clock.now()
    with pytest.raises(BackendError, match=r"asked to wait 600 s .*call has 60 s left.*limits\.timeout") as caught:
        await gate.call("x", Limits(timeout=60), service)
    assert (caught.value.status, caught.value.retry_after, clock.now() - begun) == (429, 600.0, 0)


async def test_the_next_calls_fail_at_once_too_until_the_service_may_be_asked(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, down(429, retry_after=600.0), "yes")
    for _ in range(3):
        with pytest.raises(BackendError, match="asked to wait 600 s"):
            await gate.call("x", Limits(timeout=60), service)
    assert len(service.at) == 1
    clock.time += 560
    assert await gate.call("x", Limits(timeout=60), service) == "yes"
    assert service.at[1] - service.at[0] >= 600


async def test_there_is_no_second_try_without_time_for_it(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, down())
    with pytest.raises(BackendError, match="asked 2 times"):
        await gate.call("x", Limits(timeout=1.2), service)
    assert len(service.at) == 2


async def test_an_answer_that_was_begun_before_a_reader_is_not_begun_again(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, down(), "yes")
    with pytest.raises(BackendError):
        await gate.call("x", Limits(), service, repeatable=lambda: False)
    assert len(service.at) == 1


# -- the rate --------------------------------------------------------------------------------------------------------


async def test_requests_keep_the_distance_that_the_rate_asks_for(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, "yes")
    limits = Limits(requests_per_minute=60, timeout=5)
    await asyncio.gather(*(gate.call("x", limits, service) for _ in range(120)))
    gaps = [b - a for a, b in zip(service.at, service.at[1:], strict=False)]
    assert min(gaps) >= 1.0
    assert 119 / (service.at[-1] - service.at[0]) >= 0.95
    assert max(len([at for at in service.at if start <= at < start + 60]) for start in service.at) <= 60


async def test_one_of_several_processes_keeps_to_its_share_of_the_rate(gate: Gate, clock: FakeClock) -> None:
    gate.processes = 4
    service = Service(clock, "yes")
    await asyncio.gather(*(gate.call("x", Limits(requests_per_minute=60), service) for _ in range(3)))
    assert [round(at - service.at[0], 2) for at in service.at] == [0, 4.08, 8.16]


async def test_waiting_in_our_own_queue_is_not_on_the_calls_time(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, "yes")
    limits = Limits(requests_per_minute=60, timeout=1)
    assert await asyncio.gather(*(gate.call("x", limits, service) for _ in range(30))) == ["yes"] * 30


async def test_a_second_try_does_not_stand_in_the_queue_behind_those_who_have_not_begun(
    gate: Gate, clock: FakeClock
) -> None:
    service = Service(clock, down(), "yes")
    limits = Limits(requests_per_minute=60, timeout=5)
    assert await asyncio.gather(*(gate.call("x", limits, service) for _ in range(50))) == ["yes"] * 50


async def test_backends_do_not_wait_for_each_other(gate: Gate, clock: FakeClock) -> None:
    service, begun = Service(clock, "yes"), clock.now()
    for name in ("x", "y"):
        await gate.call(name, Limits(requests_per_minute=1), service)
    assert service.at == [begun, begun]


# -- the places ------------------------------------------------------------------------------------------------------


def crowded(places: list[int], pause: float = 0.01) -> Callable[[float], Awaitable[str]]:
    inside = 0

    async def attempt(seconds: float) -> str:
        nonlocal inside
        inside += 1
        places.append(inside)
        await asyncio.sleep(pause)
        inside -= 1
        return "yes"

    return attempt


async def test_no_more_than_parallel_are_under_way_at_once() -> None:
    gate, places = Gate(), list[int]()
    attempt = crowded(places)
    await asyncio.gather(*(gate.call("x", Limits(parallel=3), attempt) for _ in range(12)))
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

    await asyncio.gather(*(gate.call("x", Limits(parallel=8), service, parallel=5) for _ in range(9)))
    assert most == 2


async def test_the_door_is_open_to_the_next_after_a_cancel_at_any_moment() -> None:
    for moment in (0.0, 0.001, 0.01, 0.015):
        door = Door()

        async def stay(door: Door = door) -> None:
            async with door.place(1):
                await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(stay()) for _ in range(4)]
        await asyncio.sleep(moment)
        tasks[0].cancel()
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(0.5), door.place(1):
            pass


async def test_somebody_who_is_let_in_and_cancelled_in_the_same_moment_leaves_the_place_to_the_next() -> None:
    door, order = Door(), list[str]()

    async def stay(name: str) -> None:
        async with door.place(1):
            order.append(name)

    async with door.place(1):
        second = asyncio.create_task(stay("second"))
        third = asyncio.create_task(stay("third"))
        await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait_for(third, 0.5)
    assert order == ["third"]


# -- the breaker -----------------------------------------------------------------------------------------------------


async def test_a_dead_backend_is_asked_five_times_and_then_once_per_cool_down(gate: Gate, clock: FakeClock) -> None:
    service, begun = Service(clock, down()), clock.now()
    for _ in range(1000):
        with pytest.raises(BackendError):
            await gate.call("x", Limits(), service)
        clock.time = max(clock.time, begun) + 0.06
    cool_downs = (clock.now() - begun) / 30
    assert cool_downs > 1 and len(service.at) <= 5 + cool_downs


async def test_while_it_rests_the_error_says_so_and_why(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, down(503))
    for _ in range(2):
        with pytest.raises(BackendError, match="answered 503"):
            await gate.call("x", Limits(), service)
    with pytest.raises(BackendError, match=r"x is left alone for 30 s: 5 requests in a row failed.*answered 503"):
        await gate.call("x", Limits(), service)
    assert len(service.at) == 5


async def test_a_backend_that_recovers_is_used_again(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, *[down()] * 5, "yes")
    for _ in range(2):
        with pytest.raises(BackendError):
            await gate.call("x", Limits(), service)
    clock.time += 31
    assert await asyncio.gather(*(gate.call("x", Limits(), service) for _ in range(1))) == ["yes"]
    assert await asyncio.gather(*(gate.call("x", Limits(), service) for _ in range(3))) == ["yes"] * 3


def test_one_probe_at_a_time_and_a_failed_one_starts_the_cool_down_anew() -> None:
    breaker = Breaker(failures=1, cool_down=30)
    breaker.failed(0, "no", since=0)
    assert breaker.rests(10) == 20
    assert breaker.rests(30) == 0 and breaker.begin()
    assert breaker.rests(31) > 0
    breaker.failed(31, "no", since=30)
    breaker.probed()
    assert breaker.rests(32) == 29


def test_a_probe_that_was_called_off_makes_room_for_another() -> None:
    breaker = Breaker(failures=1, cool_down=30)
    breaker.failed(0, "no", since=0)
    assert breaker.begin()
    breaker.probed()
    assert breaker.rests(31) == 0


def test_failures_count_in_a_row_only() -> None:
    breaker = Breaker(failures=2, cool_down=30)
    for now in range(10):
        breaker.failed(now, "no", since=now)
        breaker.succeeded()
    assert breaker.rests(10) == 0


def test_many_turned_away_at_once_count_as_one() -> None:
    breaker = Breaker(failures=2, cool_down=30)
    for _ in range(20):
        breaker.failed(1, "busy", since=0, busy=True)
    assert breaker.rests(1) == 0
    breaker.failed(3, "busy", since=2, busy=True)
    assert breaker.rests(3) == 30


async def test_a_backend_that_refuses_what_is_asked_is_alive(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, down(400, retryable=False))
    for _ in range(20):
        with pytest.raises(BackendError, match="answered 400"):
            await gate.call("x", Limits(), service)
    assert len(service.at) == 20


async def test_a_key_that_nobody_accepts_is_not_tried_on_and_on(gate: Gate, clock: FakeClock) -> None:
    service = Service(clock, down(401, retryable=False))
    for _ in range(20):
        with pytest.raises(BackendError, match="answered 401"):
            await gate.call("x", Limits(), service)
    assert len(service.at) == 5


# -- deadline and bounds ---------------------------------------------------------------------------------------------


async def hang(seconds: float) -> str:
    await asyncio.sleep(60)
    return "never"


async def test_a_call_that_hangs_ends_at_its_deadline() -> None:
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"x gave no answer within 0.3 s; to wait longer: limits\.timeout"):
        await Gate().call("x", Limits(timeout=0.3), hang)
    assert 0.3 <= time.monotonic() - begun < 0.33


async def test_a_backend_that_hangs_again_and_again_is_left_alone() -> None:
    gate = Gate(failures=2)
    for _ in range(2):
        with pytest.raises(DeadlineExceeded):
            await gate.call("x", Limits(timeout=0.01), hang)
    with pytest.raises(BackendError, match="left alone"):
        await gate.call("x", Limits(timeout=0.01), hang)


async def test_the_deadline_holds_for_the_call_with_its_retries() -> None:
    tried = 0

    async def first_fails(seconds: float) -> str:
        nonlocal tried
        tried += 1
        if tried == 1:
            raise down()
        return await hang(seconds)

    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"the try before it: answered 500.*asked 2 times"):
        await Gate(chance=lambda: 0.0).call("x", Limits(timeout=0.5), first_fails)
    assert 0.5 <= time.monotonic() - begun < 0.55


async def test_whoever_asks_may_stop_waiting_earlier() -> None:
    gate = Gate()
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"within 0\.(1|09\d+) s"):
        await gate.call("x", Limits(timeout=9), hang, until=gate.clock.now() + 0.1)
    assert time.monotonic() - begun < 0.15


async def test_time_in_the_queue_counts_for_whoever_said_until_when() -> None:
    gate = Gate()
    inside = asyncio.create_task(gate.call("x", Limits(parallel=1), hang))
    await asyncio.sleep(0)
    with pytest.raises(DeadlineExceeded, match="before it could be asked"):
        await gate.call("x", Limits(parallel=1), hang, until=gate.clock.now() + 0.05)
    inside.cancel()


async def test_a_timeout_of_the_attempt_itself_is_not_taken_for_the_deadline() -> None:
    async def own(seconds: float) -> str:
        raise TimeoutError("of a socket")

    with pytest.raises(TimeoutError, match="of a socket"):
        await Gate().call("x", Limits(), own)


async def test_several_calls_for_one_answer_share_the_bounds(gate: Gate, clock: FakeClock) -> None:
    allowance, services = Allowance(), [Service(clock, down()) for _ in range(5)]
    for n, service in enumerate(services):
        with pytest.raises(BackendError):
            await gate.call(f"backend {n}", Limits(), service, allowance=allowance)
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
        asyncio.create_task(gate.call("x", limits, attempt)) for _ in range(1 if phase in ("rate", "place") else 0)
    ]
    await asyncio.sleep(0.01)
    task, before = asyncio.create_task(gate.call("x", limits, attempt)), asked
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
        assert await gate.call("x", Limits(parallel=1), crowded([])) == "yes"
