"""A budget is a hard stop: whatever the calls cost, however they end, what is spent never goes beyond it."""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmops_flows import Flow, Record, Runner
from llmops_flows.calls import budget_meter as purses
from llmops_flows.calls.budget import NANO, Account, Amount, Budget, Hold
from llmops_flows.calls.budget_meter import BudgetMeter, CallCost
from llmops_flows.calls.gate import Gate, Limits
from llmops_flows.components.store.sqlite import SQLite
from llmops_flows.core.errors import BackendError, BudgetExceeded, StoreError
from llmops_flows.core.lease_owner import new_owner
from llmops_flows.stores.memory_store import MemoryLedger
from llmops_flows.stores.sqlite_store import SQLiteStore
from llmops_flows.testing.clock import FakeClock
from llmops_flows.testing.fakes import logged_calls
from tests.support.budget_race import priced, race

spawn = multiprocessing.get_context("spawn")
USD = Amount(NANO, 0)


def paid(purse: BudgetMeter, worst: Amount = USD, cost: Amount | None = USD) -> CallCost:
    return CallCost(purse, worst, lambda answer: cost)


def purse(usd: float | None = 2, **limits: Any) -> BudgetMeter:
    clock = limits.pop("clock", None)
    return BudgetMeter(Budget(usd=usd, **limits), MemoryLedger(), "one", clock=clock)


async def answers(seconds: float) -> str:
    return "yes"


def failing(**details: Any) -> Callable[[float], Any]:
    async def attempt(seconds: float) -> str:
        raise BackendError("no", **details)

    return attempt


# -- what a call costs ----------------------------------------------------------------------------------------------


async def test_a_call_costs_what_it_cost_and_not_what_it_might_have() -> None:
    spending = purse()
    assert await Gate().call("x", Limits(), answers, bill=paid(spending, cost=Amount(NANO // 4))) == "yes"
    assert spending.statement().usd == 0.25


async def test_a_call_that_could_go_beyond_the_budget_is_not_made() -> None:
    spending, made = purse(usd=1.5), list[float]()

    async def attempt(seconds: float) -> str:
        made.append(seconds)
        return "yes"

    gate = Gate()
    await gate.call("x", Limits(), attempt, bill=paid(spending))
    with pytest.raises(BudgetExceeded, match=r"budget.usd=1.5 is used up: 1 spent, next call may cost 1; what was"):
        await gate.call("x", Limits(), attempt, bill=paid(spending))
    assert len(made) == 1
    await gate.call("x", Limits(), attempt, bill=paid(spending, Amount(NANO // 2), Amount(NANO // 2)))
    assert spending.statement().data() == {"usd": {"limit": 1.5, "spent": 1.5, "left": 0}, "unknown": 0}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429])
async def test_a_request_that_was_refused_costs_nothing(status: int) -> None:
    spending = purse()
    with pytest.raises(BackendError):
        await Gate().call("x", Limits(attempts=1), failing(status=status), bill=paid(spending))
    assert spending.statement().usd == 0


@pytest.mark.parametrize(
    "details", [{"status": 500}, {"status": 0}, {"status": 429, "began": True}], ids=["500", "no answer", "cut"]
)
async def test_a_request_of_which_nobody_knows_the_cost_counts_at_its_worst_case(details: dict[str, Any]) -> None:
    spending = purse()
    with pytest.raises(BackendError):
        await Gate().call("x", Limits(attempts=1), failing(**details), bill=paid(spending))
    found = spending.statement()
    assert (found.usd, found.unknown) == (1, 1)


async def test_every_try_is_paid_for() -> None:
    spending, gate = purse(), Gate(clock=FakeClock())
    with pytest.raises(BudgetExceeded, match="used up: 2 spent"):
        await gate.call("x", Limits(attempts=3), failing(status=500, retryable=True), bill=paid(spending))
    assert spending.statement().unknown == 2


async def test_a_service_that_does_not_tell_what_it_took_counts_at_its_worst_case() -> None:
    spending = purse()
    await Gate().call("x", Limits(), answers, bill=paid(spending, cost=None))
    assert spending.statement().usd == 1


async def test_an_answer_that_is_none_is_paid_by_its_usage() -> None:
    spending, usage = purse(), {"input_tokens": 10, "output_tokens": 5, "cost_usd": 0.125}
    with pytest.raises(BackendError):
        await Gate().call("x", Limits(), failing(usage=usage), bill=paid(spending))
    assert spending.statement().usd == 0.125


async def test_a_call_that_is_called_off_is_paid_and_one_that_still_waited_is_not() -> None:
    spending, gate, begun = purse(), Gate(), asyncio.Event()

    async def hang(seconds: float) -> str:
        begun.set()
        await asyncio.sleep(60)
        return "late"

    limits = Limits(requests_per_minute=1)
    first, second = (asyncio.ensure_future(gate.call("x", limits, hang, bill=paid(spending))) for _ in range(2))
    await begun.wait()
    await asyncio.sleep(0.01)
    assert spending.statement().usd == 2  # both are reserved; the rate lets one go
    for call in (first, second):
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    found = spending.statement()
    assert (found.usd, found.unknown) == (1, 1)


async def test_a_call_waits_for_others_that_may_leave_enough() -> None:
    spending, gate = purse(usd=2), Gate()

    async def slow(seconds: float) -> str:
        await asyncio.sleep(0.05)
        return "yes"

    bill = paid(spending, cost=Amount(NANO // 4))
    made = await asyncio.gather(*(gate.call("x", Limits(), slow, bill=bill) for _ in range(5)))
    assert made == ["yes"] * 5  # where reserved is spent, it would have been two
    assert spending.statement().usd == 1.25


async def test_what_waits_fails_as_soon_as_nothing_can_free_enough() -> None:
    spending, gate = purse(usd=2), Gate()

    async def slow(seconds: float) -> str:
        await asyncio.sleep(0.05)
        return "yes"

    made = await asyncio.gather(
        *(gate.call("x", Limits(), slow, bill=paid(spending)) for _ in range(5)), return_exceptions=True
    )
    assert [type(one) for one in made] == [str, str, BudgetExceeded, BudgetExceeded, BudgetExceeded]


async def test_a_thousand_calls_that_the_budget_does_not_allow_are_told_as_one() -> None:
    spending, gate = purse(usd=2), Gate()
    calls_ = (gate.call("x", Limits(), answers, bill=paid(spending, Amount(NANO + n))) for n in range(1000))
    made = await asyncio.gather(*calls_, return_exceptions=True)
    assert len({str(one) for one in made if one != "yes"}) == 1


async def test_who_waits_for_the_budget_keeps_its_own_deadline() -> None:
    spending, gate = purse(usd=1), Gate()
    async with spending.reserve(USD):
        with pytest.raises(Exception, match="the time was up before it could be asked"):
            await gate.call("x", Limits(), answers, bill=paid(spending), until=gate.clock.now() + 0.1)
    assert spending.statement().usd == 0


async def test_no_call_begins_after_the_minutes() -> None:
    clock = FakeClock()
    spending, gate = purse(usd=None, minutes=2, clock=clock), Gate(clock=clock)
    await gate.call("x", Limits(), answers, bill=paid(spending, Amount(), Amount()))
    await clock.sleep(119)
    await gate.call("x", Limits(), answers, bill=paid(spending, Amount(), Amount()))
    await clock.sleep(1)
    with pytest.raises(BudgetExceeded, match=r"budget.minutes=2 is used up"):
        await gate.call("x", Limits(), answers, bill=paid(spending, Amount(), Amount()))


async def test_a_budget_of_nothing_lets_only_free_calls_through() -> None:
    spending, gate = purse(usd=0), Gate()
    await gate.call("x", Limits(), answers, bill=paid(spending, Amount(0, 100), Amount(0, 100)))
    with pytest.raises(BudgetExceeded, match=r"budget.usd=0 does not allow one call, which may cost 1e-09"):
        await gate.call("x", Limits(), answers, bill=paid(spending, Amount(1)))


# -- what is shared -------------------------------------------------------------------------------------------------


def holding(until: float, owner: str = "elsewhere/1/x") -> MemoryLedger:
    ledger = MemoryLedger()
    ledger.change("one", lambda _: (Account(time.time(), holds={owner: Hold(USD, until)}).encoded(), None))
    return ledger


def test_nobody_waits_for_the_dead_and_what_they_may_have_cost_is_not_lost() -> None:
    spending = BudgetMeter(Budget(usd=1.5), holding(time.time() - 1), "one", new=False)
    with pytest.raises(BudgetExceeded, match="used up: 1 spent"), spending.reserve_blocking(USD):
        pass
    found = spending.statement()
    assert (found.usd, found.unknown) == (1, 1)


def test_a_process_of_this_machine_that_died_is_noticed_at_once() -> None:
    child = spawn.Process(target=math.sqrt, args=(1.0,))
    child.start()
    child.join(60)
    owner = new_owner().replace(f"/{os.getpid()}/", f"/{child.pid}/")
    spending = BudgetMeter(Budget(usd=1.5), holding(time.time() + 60, owner), "one", new=False)
    with pytest.raises(BudgetExceeded, match="used up: 1 spent"), spending.reserve_blocking(USD):
        pass


def test_a_long_call_is_waited_for_as_long_as_its_process_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purses, "LEASE", 0.15)
    ledger = MemoryLedger()
    mine = BudgetMeter(Budget(usd=1), ledger, "one")
    with mine.reserve_blocking(USD) as payment:
        payment.sent = True
        time.sleep(0.5)
        assert not Account.decoded(ledger.change("one", lambda data: (None, data or b""))).lost(time.time())
        payment.settle(Amount())
    assert mine.statement().usd == 0


def test_a_late_settlement_counts_what_the_call_has_cost() -> None:
    account = Account(0.0, holds={"x": Hold(USD, 0.0)})
    account.settle("x", Amount(NANO // 2))
    account.settle("x", Amount(NANO // 2))
    assert account.taken == Amount(NANO // 2)


def test_an_account_that_somebody_has_changed_stops_everything(tmp_path: Path) -> None:
    import sqlite3

    store = SQLiteStore(tmp_path / "store.sqlite")
    spending = BudgetMeter(Budget(usd=1), store, "one")
    with sqlite3.connect(tmp_path / "store.sqlite") as db:
        db.execute("UPDATE accounts SET data = ?", (Account(0.0).encoded(),))
    with pytest.raises(StoreError, match="damaged: no call begins"), spending.reserve_blocking(USD):
        pass


def test_a_ledger_that_is_gone_stops_everything(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "store.sqlite")
    spending = BudgetMeter(Budget(usd=1), store, "one")
    (tmp_path / "store.sqlite").unlink()
    with pytest.raises(BudgetExceeded, match="not in this store"), spending.reserve_blocking(USD):
        pass


# -- through the runner ---------------------------------------------------------------------------------------------


def test_what_is_used_up_fails_and_what_is_known_is_still_answered(tmp_path: Path) -> None:
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


def test_no_fallback_answers_for_a_model_that_the_budget_does_not_allow(tmp_path: Path) -> None:
    dear, free = priced(tmp_path / "dear", 1, 0.0), priced(tmp_path / "free", 2, 0.0)
    model = dear.parts["model"].model_copy(update={"fallback": free.parts["model"]})
    flow = Flow(stages={**dear.parts, "model": model})
    with Runner(budget_meter=purse(usd=0)) as runner:
        [record] = runner.run(flow, [Record.of("1", {"question": "q"})])
    assert isinstance(record.error, BudgetExceeded)
    assert logged_calls(tmp_path / "dear") == logged_calls(tmp_path / "free") == []


# -- many threads, many processes, kill -9 --------------------------------------------------------------------------


def test_threads_of_processes_that_are_killed_never_spend_more_than_there_is(tmp_path: Path) -> None:
    race(tmp_path, SQLite(path=tmp_path / "store.sqlite"), processes=2, threads=8, kills=1, usd=10)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_thirty_two_threads_of_four_processes_never_spend_more_than_there_is(tmp_path: Path) -> None:
    race(tmp_path, SQLite(path=tmp_path / "store.sqlite"), processes=4, threads=32, kills=12, usd=250)
