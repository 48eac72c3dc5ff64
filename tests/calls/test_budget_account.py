"""A budget is a hard limit: whatever calls cost and however they end, spending never exceeds it."""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmops_flows import Flow, Record, Runner
from llmops_flows.calls import budget_reservation
from llmops_flows.calls.budget_account import NANO, Account, Amount, Budget, Hold
from llmops_flows.calls.budget_reservation import BudgetMeter
from llmops_flows.calls.cost import CallCost
from llmops_flows.calls.gate import Gate, ServiceCall
from llmops_flows.components.store.sqlite import SQLite
from llmops_flows.core.errors import BackendError, BudgetExceeded, StoreError
from llmops_flows.core.lease_owner import new_owner
from llmops_flows.core.limits import Limits
from llmops_flows.stores.memory_store import MemoryLedger
from llmops_flows.stores.sqlite_store import SQLiteStore
from llmops_flows.testing.clock import FakeClock
from llmops_flows.testing.fakes import logged_calls
from tests.support.budget_race import priced, race

spawn = multiprocessing.get_context("spawn")
USD = Amount(NANO, 0)


def charged(meter: BudgetMeter, max_cost: Amount = USD, cost: Amount | None = USD) -> CallCost:
    return CallCost(meter, max_cost, lambda answer: cost)


def meter(usd: float | None = 2, **limits: Any) -> BudgetMeter:
    clock = limits.pop("clock", None)
    return BudgetMeter(Budget(usd=usd, **limits), MemoryLedger(), "one", clock=clock)


async def answers(seconds: float) -> str:
    return "yes"


def failing(**details: Any) -> Callable[[float], Any]:
    async def attempt(seconds: float) -> str:
        raise BackendError("no", **details)

    return attempt


# -- what a call costs ----------------------------------------------------------------------------------------------


async def test_a_call_is_charged_its_real_cost_and_not_its_maximum() -> None:
    budget = meter()
    assert await Gate().call(ServiceCall("x", Limits(), answers, cost=charged(budget, cost=Amount(NANO // 4)))) == "yes"
    assert budget.statement().usd == 0.25


async def test_a_call_that_could_go_beyond_the_budget_is_not_made() -> None:
    budget, made = meter(usd=1.5), list[float]()

    async def attempt(seconds: float) -> str:
        made.append(seconds)
        return "yes"

    gate = Gate()
    await gate.call(ServiceCall("x", Limits(), attempt, cost=charged(budget)))
    with pytest.raises(BudgetExceeded, match=r"budget.usd=1.5 is used up: 1 spent, next call may cost 1; finished"):
        await gate.call(ServiceCall("x", Limits(), attempt, cost=charged(budget)))
    assert len(made) == 1
    await gate.call(ServiceCall("x", Limits(), attempt, cost=charged(budget, Amount(NANO // 2), Amount(NANO // 2))))
    assert budget.statement().data() == {"usd": {"limit": 1.5, "spent": 1.5, "left": 0}, "unknown": 0}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429])
async def test_a_request_that_was_refused_costs_nothing(status: int) -> None:
    budget = meter()
    with pytest.raises(BackendError):
        await Gate().call(ServiceCall("x", Limits(attempts=1), failing(status=status), cost=charged(budget)))
    assert budget.statement().usd == 0


@pytest.mark.parametrize(
    "details", [{"status": 500}, {"status": 0}, {"status": 429, "began": True}], ids=["500", "no answer", "cut"]
)
async def test_a_request_of_unknown_cost_is_charged_its_maximum(details: dict[str, Any]) -> None:
    budget = meter()
    with pytest.raises(BackendError):
        await Gate().call(ServiceCall("x", Limits(attempts=1), failing(**details), cost=charged(budget)))
    found = budget.statement()
    assert (found.usd, found.unknown) == (1, 1)


async def test_every_attempt_is_charged() -> None:
    budget, gate = meter(), Gate(clock=FakeClock())
    with pytest.raises(BudgetExceeded, match="used up: 2 spent"):
        await gate.call(ServiceCall("x", Limits(attempts=3), failing(status=500, retryable=True), cost=charged(budget)))
    assert budget.statement().unknown == 2


async def test_an_answer_without_usage_is_charged_the_maximum() -> None:
    budget = meter()
    await Gate().call(ServiceCall("x", Limits(), answers, cost=charged(budget, cost=None)))
    assert budget.statement().usd == 1


async def test_a_failed_request_with_usage_is_charged_by_its_usage() -> None:
    budget, usage = meter(), {"input_tokens": 10, "output_tokens": 5, "cost_usd": 0.125}
    with pytest.raises(BackendError):
        await Gate().call(ServiceCall("x", Limits(), failing(usage=usage), cost=charged(budget)))
    assert budget.statement().usd == 0.125


async def test_a_cancelled_request_is_charged_and_one_that_still_waited_is_not() -> None:
    budget, gate, begun = meter(), Gate(), asyncio.Event()

    async def hang(seconds: float) -> str:
        begun.set()
        await asyncio.sleep(60)
        return "late"

    limits = Limits(requests_per_minute=1)
    first, second = (
        asyncio.ensure_future(gate.call(ServiceCall("x", limits, hang, cost=charged(budget)))) for _ in range(2)
    )
    await begun.wait()
    await asyncio.sleep(0.01)
    assert budget.statement().usd == 2  # both are reserved; the rate lets one go
    for call in (first, second):
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    found = budget.statement()
    assert (found.usd, found.unknown) == (1, 1)


async def test_a_call_waits_for_others_that_may_leave_enough() -> None:
    budget, gate = meter(usd=2), Gate()

    async def slow(seconds: float) -> str:
        await asyncio.sleep(0.05)
        return "yes"

    bill = charged(budget, cost=Amount(NANO // 4))
    made = await asyncio.gather(*(gate.call(ServiceCall("x", Limits(), slow, cost=bill)) for _ in range(5)))
    assert made == ["yes"] * 5  # where reserved is spent, it would have been two
    assert budget.statement().usd == 1.25


async def test_waiting_calls_fail_as_soon_as_no_call_can_free_enough() -> None:
    budget, gate = meter(usd=2), Gate()

    async def slow(seconds: float) -> str:
        await asyncio.sleep(0.05)
        return "yes"

    made = await asyncio.gather(
        *(gate.call(ServiceCall("x", Limits(), slow, cost=charged(budget))) for _ in range(5)), return_exceptions=True
    )
    assert [type(one) for one in made] == [str, str, BudgetExceeded, BudgetExceeded, BudgetExceeded]


async def test_a_thousand_calls_beyond_the_budget_raise_the_same_message() -> None:
    budget, gate = meter(usd=2), Gate()
    calls_ = (
        gate.call(ServiceCall("x", Limits(), answers, cost=charged(budget, Amount(NANO + n)))) for n in range(1000)
    )
    made = await asyncio.gather(*calls_, return_exceptions=True)
    assert len({str(one) for one in made if one != "yes"}) == 1


async def test_a_call_that_waits_for_the_budget_keeps_its_deadline() -> None:
    budget, gate = meter(usd=1), Gate()
    async with budget.reserve(USD):
        with pytest.raises(Exception, match="the deadline passed before a request could be sent"):
            await gate.call(ServiceCall("x", Limits(), answers, cost=charged(budget), until=gate.clock.now() + 0.1))
    assert budget.statement().usd == 0


async def test_no_call_starts_after_the_minutes() -> None:
    clock = FakeClock()
    budget, gate = meter(usd=None, minutes=2, clock=clock), Gate(clock=clock)
    await gate.call(ServiceCall("x", Limits(), answers, cost=charged(budget, Amount(), Amount())))
    await clock.sleep(119)
    await gate.call(ServiceCall("x", Limits(), answers, cost=charged(budget, Amount(), Amount())))
    await clock.sleep(1)
    with pytest.raises(BudgetExceeded, match=r"budget.minutes=2 is used up"):
        await gate.call(ServiceCall("x", Limits(), answers, cost=charged(budget, Amount(), Amount())))


async def test_a_budget_of_zero_allows_only_free_calls() -> None:
    budget, gate = meter(usd=0), Gate()
    await gate.call(ServiceCall("x", Limits(), answers, cost=charged(budget, Amount(0, 100), Amount(0, 100))))
    with pytest.raises(BudgetExceeded, match=r"budget.usd=0 does not allow one call, which may cost 1e-09"):
        await gate.call(ServiceCall("x", Limits(), answers, cost=charged(budget, Amount(1))))


# -- what is shared -------------------------------------------------------------------------------------------------


def holding(until: float, owner: str = "elsewhere/1/x") -> MemoryLedger:
    ledger = MemoryLedger()
    ledger.change("one", lambda _: (Account(time.time(), holds={owner: Hold(USD, until)}).encoded(), None))
    return ledger


async def test_a_call_does_not_wait_for_reservations_of_dead_processes_and_counts_their_maximum() -> None:
    budget = BudgetMeter(Budget(usd=1.5), holding(time.time() - 1), "one", new=False)
    with pytest.raises(BudgetExceeded, match="used up: 1 spent"):
        async with budget.reserve(USD):
            pass
    found = budget.statement()
    assert (found.usd, found.unknown) == (1, 1)


async def test_a_dead_process_of_this_machine_is_detected_without_waiting_for_its_lease() -> None:
    child = spawn.Process(target=math.sqrt, args=(1.0,))
    child.start()
    child.join(60)
    owner = new_owner().replace(f"/{os.getpid()}/", f"/{child.pid}/")
    budget = BudgetMeter(Budget(usd=1.5), holding(time.time() + 60, owner), "one", new=False)
    with pytest.raises(BudgetExceeded, match="used up: 1 spent"):
        async with budget.reserve(USD):
            pass


async def test_the_reservation_of_a_long_call_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_reservation, "LEASE", 0.15)
    ledger = MemoryLedger()
    own = BudgetMeter(Budget(usd=1), ledger, "one")
    async with own.reserve(USD) as reservation:
        reservation.sent = True
        await asyncio.sleep(0.5)
        assert not Account.decoded(ledger.change("one", lambda data: (None, data or b""))).lost(time.time())
        reservation.settle(Amount())
    assert own.statement().usd == 0


def test_a_late_settlement_counts_what_the_call_has_cost() -> None:
    account = Account(0.0, holds={"x": Hold(USD, 0.0)})
    account.settle("x", Amount(NANO // 2))
    account.settle("x", Amount(NANO // 2))
    assert account.taken == Amount(NANO // 2)


async def test_no_call_starts_when_the_account_was_changed_by_other_means(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "store.sqlite")
    budget = BudgetMeter(Budget(usd=1), store, "one")
    with closing(sqlite3.connect(tmp_path / "store.sqlite", isolation_level=None)) as db:
        db.execute("UPDATE accounts SET data = ?", (Account(0.0).encoded(),))
    with pytest.raises(StoreError, match="damaged: no call starts"):
        async with budget.reserve(USD):
            pass


async def test_no_call_starts_without_its_account(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "store.sqlite")
    budget = BudgetMeter(Budget(usd=1), store, "one")
    (tmp_path / "store.sqlite").unlink()
    with pytest.raises(BudgetExceeded, match="not in this store"):
        async with budget.reserve(USD):
            pass


# -- through the runner ---------------------------------------------------------------------------------------------


def test_known_answers_are_returned_when_the_budget_is_used_up(tmp_path: Path) -> None:
    flow, store = priced(tmp_path / "bill", 1, 0.0), SQLiteStore(tmp_path / "store.sqlite")

    def ask(budget: Budget, count: int) -> list[Record]:
        with Runner(store=store, budget_meter=BudgetMeter(budget, MemoryLedger(), "one")) as runner:
            return runner.run(flow, [Record.of(f"{n}", {"question": f"q{n}"}) for n in range(count)])

    worst = flow.parts["model"].max_cost({"messages": [{"role": "user", "content": "q1"}]})["cost_usd"]
    first = ask(Budget(usd=3 * worst), 30)
    made = [record for record in first if record.error is None]
    assert 3 <= len(made) < 30 and len(logged_calls(tmp_path / "bill")) == len(made)
    assert all(isinstance(record.error, BudgetExceeded) for record in first if record not in made)

    again = ask(Budget(usd=0), 30)
    assert {record.id for record in again if record.error is None} == {record.id for record in made}
    assert all(record.error is None for record in ask(Budget(usd=10_000), 30))
    assert len(logged_calls(tmp_path / "bill")) == 30


def test_no_fallback_answers_for_a_model_beyond_the_budget(tmp_path: Path) -> None:
    dear, free = priced(tmp_path / "dear", 1, 0.0), priced(tmp_path / "free", 2, 0.0)
    model = dear.parts["model"].model_copy(update={"fallback": free.parts["model"]})
    flow = Flow(stages={**dear.parts, "model": model})
    with Runner(budget_meter=meter(usd=0)) as runner:
        [record] = runner.run(flow, [Record.of("1", {"question": "q"})])
    assert isinstance(record.error, BudgetExceeded)
    assert logged_calls(tmp_path / "dear") == logged_calls(tmp_path / "free") == []


# -- many threads, many processes, kill -9 --------------------------------------------------------------------------


def test_threads_of_killed_processes_never_exceed_the_budget(tmp_path: Path) -> None:
    race(tmp_path, SQLite(path=tmp_path / "store.sqlite"), processes=2, threads=8, kills=1, usd=10)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_thirty_two_threads_of_four_processes_never_exceed_the_budget(tmp_path: Path) -> None:
    race(tmp_path, SQLite(path=tmp_path / "store.sqlite"), processes=4, threads=32, kills=12, usd=250)
