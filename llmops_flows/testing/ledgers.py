"""The contract suite for budget ledgers."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from typing import Any

from llmops_flows.calls.budget_account import Amount, Budget, Ledger
from llmops_flows.calls.budget_reservation import BudgetMeter
from llmops_flows.core.errors import BudgetExceeded


class LedgerContract(ABC):
    """The contract of ledgers. Inherit it, and implement `ledger`, and `another_handle` where handles can share one."""

    @abstractmethod
    def ledger(self) -> Ledger:
        """A ledger without accounts."""

    def another_handle(self, ledger: Ledger) -> Ledger:
        """Another handle to the accounts of `ledger`, as another process would have it."""
        return ledger

    def test_it_is_a_ledger(self) -> None:
        assert isinstance(self.ledger(), Ledger)

    def test_other_handles_read_the_same_bytes(self) -> None:
        ledger, data = self.ledger(), bytes(range(256)) * 100
        ledger.change("one", lambda before: (data, None))
        assert self.another_handle(ledger).change("one", lambda before: (None, before)) == data

    def test_an_unknown_account_is_none(self) -> None:
        assert self.ledger().change("never", lambda before: (None, before)) is None

    def test_accounts_are_independent(self) -> None:
        ledger = self.ledger()
        for name in ("a", "a/b", "b"):
            ledger.change(name, lambda before, name=name: (name.encode(), None))  # type: ignore[misc]
        contents = [ledger.change(name, lambda before: (None, before)) for name in ("a", "a/b", "b")]
        assert contents == [b"a", b"a/b", b"b"]

    def test_a_change_that_raises_is_not_saved(self) -> None:
        ledger = self.ledger()
        ledger.change("one", lambda before: (b"before", None))

        def fail(before: bytes | None) -> tuple[bytes | None, None]:
            raise BudgetExceeded("no")

        for handle in (ledger, self.another_handle(ledger)):
            try:
                handle.change("one", fail)
            except BudgetExceeded:
                pass
            else:
                raise AssertionError("the error was not raised")
        assert ledger.change("one", lambda before: (None, before)) == b"before"

    def test_no_change_of_many_threads_is_lost(self) -> None:
        ledger = self.ledger()

        def count(handle: Ledger) -> None:
            for _ in range(10):
                handle.change("one", lambda before: (b"%d" % (int(before or b"0") + 1), None))

        run_in_threads([(count, handle) for _ in range(4) for handle in (ledger, self.another_handle(ledger))])
        assert ledger.change("one", lambda before: (None, before)) == b"80"

    def test_many_threads_never_exceed_the_budget(self) -> None:
        ledger, granted = self.ledger(), list[int]()
        meters = [BudgetMeter(Budget(tokens=100), ledger, "one")]
        meters += [BudgetMeter(Budget(tokens=100), self.another_handle(ledger), "one", new=False) for _ in range(3)]

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

    def test_joining_an_unknown_account_is_an_error(self) -> None:
        ledger = self.ledger()
        BudgetMeter(Budget(usd=1), ledger, "one")
        BudgetMeter(Budget(usd=1), self.another_handle(ledger), "one", new=False)
        try:
            BudgetMeter(Budget(usd=1), self.another_handle(ledger), "two", new=False)
        except BudgetExceeded as error:
            assert "not in this store" in str(error)
        else:
            raise AssertionError("an unknown account was joined")


def run_in_threads(work: list[tuple[Any, Any]]) -> None:
    """Call each function with its argument in its own thread."""
    threads = [threading.Thread(target=function, args=(argument,)) for function, argument in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
