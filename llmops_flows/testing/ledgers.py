"""What every ledger must do, as a suite to inherit."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from typing import Any

from llmops_flows.calls.budget import Amount, Budget, Ledger
from llmops_flows.calls.budget_meter import BudgetMeter
from llmops_flows.core.errors import BudgetExceeded


class LedgerContract(ABC):
    """What holds for every ledger. Inherit, and give `ledger`; where several handles can share one, `other` too."""

    @abstractmethod
    def ledger(self) -> Ledger:
        """A ledger without accounts."""

    def other(self, ledger: Ledger) -> Ledger:
        """Another handle to the accounts of `ledger`, as another process would have it."""
        return ledger

    def test_it_is_a_ledger(self) -> None:
        assert isinstance(self.ledger(), Ledger)

    def test_what_was_put_is_there_for_everybody_byte_for_byte(self) -> None:
        ledger, data = self.ledger(), bytes(range(256)) * 100
        ledger.change("one", lambda before: (data, None))
        assert self.other(ledger).change("one", lambda before: (None, before)) == data

    def test_an_account_that_was_never_opened_is_none(self) -> None:
        assert self.ledger().change("never", lambda before: (None, before)) is None

    def test_accounts_are_apart(self) -> None:
        ledger = self.ledger()
        for name in ("a", "a/b", "b"):
            ledger.change(name, lambda before, name=name: (name.encode(), None))  # type: ignore[misc]
        assert [ledger.change(name, lambda before: (None, before)) for name in ("a", "a/b", "b")] == [
            b"a",
            b"a/b",
            b"b",
        ]

    def test_work_that_raises_changes_nothing(self) -> None:
        ledger = self.ledger()
        ledger.change("one", lambda before: (b"before", None))

        def fail(before: bytes | None) -> tuple[bytes | None, None]:
            raise BudgetExceeded("no")

        for handle in (ledger, self.other(ledger)):
            try:
                handle.change("one", fail)
            except BudgetExceeded:
                pass
            else:
                raise AssertionError("the error was swallowed")
        assert ledger.change("one", lambda before: (None, before)) == b"before"

    def test_no_change_is_lost_among_many_threads(self) -> None:
        ledger = self.ledger()

        def count(handle: Ledger) -> None:
            for _ in range(10):
                handle.change("one", lambda before: (b"%d" % (int(before or b"0") + 1), None))

        run_in_threads([(count, handle) for _ in range(4) for handle in (ledger, self.other(ledger))])
        assert ledger.change("one", lambda before: (None, before)) == b"80"

    def test_many_threads_never_take_more_than_there_is(self) -> None:
        ledger, granted = self.ledger(), list[int]()
        meters = [BudgetMeter(Budget(tokens=100), ledger, "one")]
        meters += [BudgetMeter(Budget(tokens=100), self.other(ledger), "one", new=False) for _ in range(3)]

        async def spend(meter: BudgetMeter) -> None:
            for _ in range(5):
                try:
                    async with meter.reserve(Amount(0, 10)) as reservation:
                        reservation.sent = True
                        granted.append(meter.statement().tokens)
                except BudgetExceeded:
                    return

        async def spend_twice(meter: BudgetMeter) -> None:
            await asyncio.gather(spend(meter), spend(meter))

        run_in_threads([(asyncio.run, spend_twice(meter)) for meter in meters])
        assert len(granted) == 10 and max(granted) <= 100
        assert meters[0].statement().tokens == 100

    def test_whoever_joins_finds_the_account_or_begins_no_call(self) -> None:
        ledger = self.ledger()
        BudgetMeter(Budget(usd=1), ledger, "one")
        BudgetMeter(Budget(usd=1), self.other(ledger), "one", new=False)
        try:
            BudgetMeter(Budget(usd=1), self.other(ledger), "two", new=False)
        except BudgetExceeded as error:
            assert "not in this store" in str(error)
        else:
            raise AssertionError("an account was opened by somebody who should join it")


def run_in_threads(work: list[tuple[Any, Any]]) -> None:
    """Call every function with its argument, each in a thread of its own."""
    threads = [threading.Thread(target=function, args=(argument,)) for function, argument in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
