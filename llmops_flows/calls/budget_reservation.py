"""The budget meter: reserves the maximum cost of a call before it starts, and books its real cost afterwards."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from llmops_flows.core.clock import Clock, WallClock
from llmops_flows.core.errors import BudgetExceeded, StoreError
from llmops_flows.core.lease_owner import new_owner

from .budget_account import NANO, Account, Amount, Budget, Hold, Ledger, Statement
from .concurrency import FairSemaphore

T = TypeVar("T")
log = logging.getLogger("llmops_flows.budget")

LEASE = 15.0
"""Seconds after which the reservation of a process that died on another machine expires."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.1
_CONTINUE = "finished answers are stored; run the same command again to continue"
_NO_ACCOUNT = (
    "the account of the budget is not in this store: the processes of a sweep share a budget through one store "
    "(store=sqlite; on several machines store=redis or store=postgres, with one LLMOPS_FLOWS_SEAL)"
)


class BudgetMeter:
    """Charges calls to an account that other threads, processes and machines may share.

    Args:
        budget: the limits.
        ledger: the store of the account.
        account: its name.
        new: open the account if it does not exist.
        clock: time, for waiting and for the minutes of the budget.

    Raises:
        StoreError: the ledger cannot be reached.
        BudgetExceeded: the account does not exist.
    """

    def __init__(
        self, budget: Budget, ledger: Ledger, account: str, *, new: bool = True, clock: Clock | None = None
    ) -> None:
        self.budget = budget
        self._ledger = ledger
        self._account = account
        self._clock = clock or WallClock()
        self._queue = FairSemaphore()
        self._messages: dict[str, str] = {}
        self._lock = threading.Lock()
        self._reserved: set[str] = set()
        self._renewal: threading.Thread | None = None
        opened = self._open() if new else self._change(lambda account: account.opened)
        self._opened = self._clock.now() - max(0.0, time.time() - opened)

    @asynccontextmanager
    async def reserve(self, max_cost: Amount) -> AsyncIterator[Reservation]:
        """Reserve the maximum cost of one call. Waits while settling other calls may free enough of the budget.

        Raises:
            BudgetExceeded: the budget does not allow the call.
        """
        # Only the first in the queue polls the account.
        async with self._queue.acquire(1 if self._limits(max_cost) else None):
            pause = _FIRST_PAUSE
            while (reservation := self._reserve(max_cost)) is None:
                await self._clock.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        try:
            yield reservation
        finally:
            reservation.settle(None if reservation.sent else Amount())

    def _reserve(self, max_cost: Amount) -> Reservation | None:
        """A reservation; None while the settlement of other calls may free enough. Raises BudgetExceeded."""
        self._check_time()
        limits = self._limits(max_cost)
        if not limits:
            return Reservation(self, "", max_cost)
        owner = new_owner()

        def hold(account: Account) -> bool:
            account.holds.pop(owner, None)  # the ledger may call this again after a lost connection
            now, taken = time.time(), account.taken
            if all(getattr(taken, name) + cost <= limit for name, limit, cost in limits):
                account.holds[owner] = Hold(max_cost, now + LEASE)
                return True
            certain = sum((lost.amount for lost in account.lost(now).values()), account.spent)
            for name, limit, cost in limits:
                if getattr(certain, name) + cost > limit:
                    raise self._exceeded(name, getattr(certain, name), cost)
            return False

        if not self._change(hold):
            return None
        self._renew_while_reserved(owner)
        return Reservation(self, owner, max_cost)

    def _limits(self, max_cost: Amount) -> list[tuple[str, int, int]]:
        """The limits that apply to a call: name, limit, and the maximum that the call adds."""
        return [(name, limit, cost) for name, limit in self.budget.limits() if (cost := getattr(max_cost, name))]

    def settle(self, owner: str, amount: Amount | None) -> None:
        """Book the cost of a call; None: unknown, so its maximum stays booked."""
        with self._lock:
            self._reserved.discard(owner)
        try:
            self._change(lambda account: account.settle(owner, amount))
        except (StoreError, BudgetExceeded) as error:
            # The maximum stays reserved, and the next call reports that the ledger cannot be reached.
            log.warning("the cost of a call could not be booked; its maximum counts: %s", error)

    def statement(self) -> Statement:
        """The amount spent until now. Raises StoreError."""
        account = self._change(lambda account: account)
        minutes = (self._clock.now() - self._opened) / 60
        unknown = account.unknown + len(account.lost(time.time()))
        return Statement(self.budget, account.taken.usd / NANO, account.taken.tokens, minutes, unknown)

    def _check_time(self) -> None:
        minutes = self.budget.minutes
        if minutes is not None and self._clock.now() - self._opened >= minutes * 60:
            raise BudgetExceeded(f"budget.minutes={minutes:g} is used up; {_CONTINUE}")

    def _exceeded(self, name: str, spent: int, cost: int) -> BudgetExceeded:
        """The error of a call. All calls raise the message of the first, so that it is reported once."""
        limit = f"budget.{name}={getattr(self.budget, name):.15g}"
        if spent:
            amounts = f"{format_amount(name, spent)} spent, next call may cost {format_amount(name, cost)}"
            message = f"{limit} is used up: {amounts}; {_CONTINUE}"
        else:
            hint = f"raise budget.{name}, or lower max_tokens of the model"
            message = f"{limit} does not allow one call, which may cost {format_amount(name, cost)}: {hint}"
        return BudgetExceeded(self._messages.setdefault(name if spent else f"{name} unspent", message))

    def _open(self) -> float:
        def opened(data: bytes | None) -> tuple[bytes | None, float]:
            if data is not None:
                return None, Account.decoded(data).opened
            now = time.time()
            return Account(now).encoded(), now

        return self._ledger.change(self._account, opened)

    def _change(self, work: Callable[[Account], T]) -> T:
        def changed(data: bytes | None) -> tuple[bytes | None, T]:
            if data is None:
                raise BudgetExceeded(_NO_ACCOUNT)
            account = Account.decoded(data)
            result = work(account)
            after = account.encoded()
            return None if after == data else after, result

        return self._ledger.change(self._account, changed)

    def _renew_while_reserved(self, owner: str) -> None:
        """Renew a reservation until its call is settled."""
        with self._lock:
            self._reserved.add(owner)
            if self._renewal is None:
                self._renewal = threading.Thread(target=self._renew, name="llmops-flows-budget", daemon=True)
                self._renewal.start()

    def _renew(self) -> None:
        while True:
            time.sleep(LEASE / 3)
            with self._lock:
                owners = set(self._reserved)
                if not owners:
                    self._renewal = None
                    return

            def renew(account: Account, owners: set[str] = owners) -> None:
                until = time.time() + LEASE
                account.holds.update({o: Hold(h.amount, until) for o, h in account.holds.items() if o in owners})

            try:
                self._change(renew)
            except (StoreError, BudgetExceeded) as error:
                log.debug("reservations could not be renewed: %s", error)


class Reservation:
    """The reserved maximum cost of one request. Set `sent` before sending the request.

    Without a call of `settle`, a request costs its maximum if it was sent, and nothing otherwise.
    """

    def __init__(self, meter: BudgetMeter, owner: str, max_cost: Amount) -> None:
        self.sent = False
        self._meter = meter
        self._owner = owner
        self._max_cost = max_cost

    def settle(self, amount: Amount | None) -> None:
        """Book the cost of the request, once; None: unknown."""
        owner, self._owner = self._owner, ""
        if owner:
            if amount is not None and (amount.usd > self._max_cost.usd or amount.tokens > self._max_cost.tokens):
                log.warning("a call has cost more than its maximum: %s instead of %s", amount, self._max_cost)
            self._meter.settle(owner, amount)


def format_amount(name: str, amount: int) -> str:
    """An amount of a limit (`usd`, `tokens`) as text."""
    return f"{amount / NANO:.3g}" if name == "usd" else f"{amount}"
