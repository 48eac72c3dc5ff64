"""A meter: calls are paid from it. It reserves the worst case before a call, and settles what it cost after it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from llmops_flows.core.clock import Clock, WallClock
from llmops_flows.core.errors import BackendError, BudgetExceeded, StoreError
from llmops_flows.core.lease_owner import new_owner
from llmops_flows.core.record import Usage

from .budget import NANO, Account, Amount, Budget, Hold, Ledger, Statement
from .concurrency import FairSemaphore

T = TypeVar("T")
log = logging.getLogger("llmops_flows.budget")

LEASE = 15.0
"""Seconds after which nobody waits any more for what a process that died (on another machine) has reserved."""
_PAUSES = (0.01, 0.1)
_GOES_ON = "what was answered is kept, and the same command goes on from here"


class BudgetMeter:
    """Pays for calls from an account that other threads, processes and machines may spend from, too.

    Args:
        budget: what may be spent.
        ledger: where the account is kept.
        account: its name.
        new: whether it is opened here; else somebody else has done so.
        clock: time, for waiting and for the minutes of the budget.

    Raises:
        StoreError: the ledger cannot be reached.
        BudgetExceeded: it has no such account.
    """

    def __init__(
        self, budget: Budget, ledger: Ledger, account: str, *, new: bool = True, clock: Clock | None = None
    ) -> None:
        self.budget = budget
        self._ledger = ledger
        self._name = account
        self._clock = clock or WallClock()
        self._line = FairSemaphore()
        self._told: dict[str, str] = {}
        self._lock = threading.Lock()
        self._live: set[str] = set()
        self._pulse: threading.Thread | None = None
        begun = self._opened() if new else self._change(lambda account: account.begun)
        self._begun = self._clock.now() - max(0.0, time.time() - begun)

    # -- spending --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def reserve(self, max_cost: Amount) -> AsyncIterator[Reservation]:
        """Reserve the worst case of one call. Waits while calls under way may turn out to leave enough for it.

        Raises:
            BudgetExceeded: what is left does not allow the call.
        """
        async with self._line.place(1 if self._needs(max_cost) else None):  # one looks what is left, for all who wait
            pause, most = _PAUSES
            while (payment := self._reserve(max_cost)) is None:
                await self._clock.sleep(pause)
                pause = min(2 * pause, most)
        with payment:
            yield payment

    @contextmanager
    def reserve_blocking(self, max_cost: Amount) -> Iterator[Reservation]:
        """The same in a thread that may block."""
        pause, most = _PAUSES
        while (payment := self._reserve(max_cost)) is None:
            time.sleep(pause)
            pause = min(2 * pause, most)
        with payment:
            yield payment

    def _reserve(self, max_cost: Amount) -> Reservation | None:
        """A payment of the worst case; None while others may leave enough for it. Raises BudgetExceeded."""
        self._check_time()
        limits = self._needs(max_cost)
        if not limits:
            return Reservation(self, "", max_cost)
        owner = new_owner()

        def work(account: Account) -> bool:
            account.holds.pop(owner, None)  # this may be done a second time, when a connection was lost
            now, taken = time.time(), account.taken
            if all(getattr(taken, name) + cost <= limit for name, limit, cost in limits):
                account.holds[owner] = Hold(max_cost, now + LEASE)
                return True
            lost = account.lost(now)
            certain = sum((hold.amount for hold in lost.values()), account.spent)
            for name, limit, cost in limits:
                if getattr(certain, name) + cost > limit:
                    raise self._used_up(name, getattr(certain, name), cost)
            return False

        if not self._change(work):
            return None
        self._lives(owner)
        return Reservation(self, owner, max_cost)

    def _needs(self, max_cost: Amount) -> list[tuple[str, int, int]]:
        """The limits that a call touches: name, limit, and the most that the call takes of it."""
        return [(name, limit, cost) for name, limit in self.budget.limits() if (cost := getattr(max_cost, name))]

    def settle(self, owner: str, amount: Amount | None) -> None:
        """A call has cost so much; None: nobody knows how much, and its worst case stays booked."""
        with self._lock:
            self._live.discard(owner)
        try:
            self._change(lambda account: account.settle(owner, amount))
        except (StoreError, BudgetExceeded) as error:
            # It stays reserved: nobody can spend it, and the next call will tell.
            log.warning("what a call has cost could not be booked, so that its worst case counts: %s", error)

    def statement(self) -> Statement:
        """What was spent until now. Raises StoreError."""
        account = self._change(lambda account: account)
        minutes = (self._clock.now() - self._begun) / 60
        unknown = account.unknown + len(account.lost(time.time()))
        return Statement(self.budget, account.taken.usd / NANO, account.taken.tokens, minutes, unknown)

    def _check_time(self) -> None:
        minutes = self.budget.minutes
        if minutes is not None and self._clock.now() - self._begun >= minutes * 60:
            raise BudgetExceeded(f"budget.minutes={minutes:g} is used up, so that no call begins; {_GOES_ON}")

    def _used_up(self, name: str, spent: int, cost: int) -> BudgetExceeded:
        """The error of a call. The first call's stands for all: a thousand of them are told as one."""
        if not spent:
            return BudgetExceeded(self._told.setdefault(f"{name} none", self._too_little(name, cost)))
        left = f"{told(name, spent)} spent, next call may cost {told(name, cost)}"
        used = f"budget.{name}={getattr(self.budget, name):.15g} is used up: {left}; {_GOES_ON}"
        return BudgetExceeded(self._told.setdefault(name, used))

    def _too_little(self, name: str, cost: int) -> str:
        limit = f"budget.{name}={getattr(self.budget, name):.15g}"
        hint = f"raise budget.{name}, or lower max_tokens of the model"
        return f"{limit} does not allow one call, which may cost {told(name, cost)}: {hint}"

    # -- the account -----------------------------------------------------------------------------------------------

    def _opened(self) -> float:
        def work(data: bytes | None) -> tuple[bytes | None, float]:
            if data is not None:
                return None, Account.decoded(data).begun
            begun = time.time()
            return Account(begun).encoded(), begun

        return self._ledger.change(self._name, work)

    def _change(self, work: Callable[[Account], T]) -> T:
        def changed(data: bytes | None) -> tuple[bytes | None, T]:
            if data is None:
                raise BudgetExceeded(_NO_ACCOUNT)
            account = Account.decoded(data)
            found = work(account)
            after = account.encoded()
            return None if after == data else after, found

        return self._ledger.change(self._name, changed)

    def _lives(self, owner: str) -> None:
        """Renew what is reserved as long as its call is under way."""
        with self._lock:
            self._live.add(owner)
            if self._pulse is None:
                self._pulse = threading.Thread(target=self._renew, name="llmops-flows-budget", daemon=True)
                self._pulse.start()

    def _renew(self) -> None:
        while True:
            time.sleep(LEASE / 3)
            with self._lock:
                owners = set(self._live)
                if not owners:
                    self._pulse = None
                    return

            def work(account: Account, owners: set[str] = owners) -> None:
                until = time.time() + LEASE
                renewed = {o: Hold(h.amount, until) for o, h in account.holds.items() if o in owners}
                account.holds.update(renewed)

            try:
                self._change(work)
            except (StoreError, BudgetExceeded) as error:
                log.debug("what is reserved could not be renewed: %s", error)


_NO_ACCOUNT = (
    "the account of the budget is not in this store, so that no call begins: the processes of a sweep share a budget "
    "through one store (store=sqlite; on several machines store=redis or store=postgres, with one LLMOPS_FLOWS_SEAL)"
)


@dataclass(frozen=True, slots=True)
class CallCost:
    """What a call is paid from, what it may cost at most, and what it cost by its answer (None: nobody knows)."""

    meter: BudgetMeter
    max_cost: Amount
    cost: Callable[[Any], Amount | None]

    async def paid(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """The answer of a call that passes no gate."""
        async with self.meter.reserve(self.max_cost) as payment:
            payment.sent = True
            answer = await attempt()
            payment.settle(self.cost(answer))
            return answer


def told(name: str, amount: int) -> str:
    """What is counted under a limit's name, for people."""
    return f"{amount / NANO:.3g}" if name == "usd" else f"{amount}"


class Reservation:
    """What is reserved for one call. A call that was not `sent` costs nothing; one that was, its worst case.

    Unless `settle` says what it cost.
    """

    def __init__(self, meter: BudgetMeter, owner: str, max_cost: Amount) -> None:
        self.sent = False
        self._meter = meter
        self._owner = owner
        self._max_cost = max_cost

    def settle(self, amount: Amount | None) -> None:
        """The call has cost so much; None: nobody knows."""
        owner, self._owner = self._owner, ""
        if owner:
            if amount is not None and (amount.usd > self._max_cost.usd or amount.tokens > self._max_cost.tokens):
                log.warning("a call has cost more than could be foreseen: %s instead of %s", amount, self._max_cost)
            self._meter.settle(owner, amount)

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, *_: object) -> None:
        self.settle(None if self.sent else Amount())


REFUSED = frozenset({400, 401, 402, 403, 404, 405, 413, 422, 429})
"""Statuses of a service that has done no work for the call."""


def cost_of(error: BaseException) -> Amount | None:
    """What a call that failed has cost; None: nobody knows."""
    if not isinstance(error, BackendError):
        return None
    if error.usage:
        return Amount.of(cast(Usage, error.usage))
    return Amount() if error.status in REFUSED and not error.began else None


_meter: ContextVar[BudgetMeter | None] = ContextVar("llmops_flows_budget_meter", default=None)


@contextmanager
def spending(meter: BudgetMeter | None) -> Iterator[None]:
    """Within the block, in this thread or task, calls that pass no gate are paid from this meter."""
    token = _meter.set(meter)
    try:
        yield
    finally:
        _meter.reset(token)


@contextmanager
def paid(max_cost: Amount) -> Iterator[Callable[[Amount | None], Any]]:
    """The block makes one call that passes no gate (an embedder's). It is handed what takes the call's real cost.

    Blocking. Raises BudgetExceeded: what is left does not allow the call.
    """
    meter = _meter.get()
    if meter is None:
        yield lambda amount: None
        return
    with meter.reserve_blocking(max_cost) as payment:
        payment.sent = True
        try:
            yield payment.settle
        except BackendError as error:
            payment.settle(cost_of(error))
            raise
