"""A budget, and its account: the amount spent, and the reservations of calls in progress."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from llmops_flows.core.fingerprint import decode, encode
from llmops_flows.core.lease_owner import is_dead
from llmops_flows.core.record import Usage

T = TypeVar("T")
NANO = 1_000_000_000


class Budget(BaseModel):
    """Limits of spending over all threads, processes and machines. Operational: no part of an identity.

    Attributes:
        usd, tokens: limits of the calls to models, including those of evaluators and embedders. A call that could
            exceed a limit does not start. 0: only stored answers. None: no limit.
        minutes: time after which no call starts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    usd: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = None
    tokens: Annotated[int, Field(ge=0, le=10**12)] | None = None
    minutes: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = None

    @property
    def limited(self) -> bool:
        """Whether any limit is set."""
        return any(limit is not None for _, limit in self)

    def limits(self) -> Iterator[tuple[str, int]]:
        """The limits of an account by their names, in the units of an Amount."""
        if self.usd is not None:
            yield "usd", math.floor(round(self.usd * NANO, 3))
        if self.tokens is not None:
            yield "tokens", self.tokens


@dataclass(frozen=True, slots=True)
class Amount:
    """Money and tokens. `usd` counts billionths of a dollar, rounded up, so that sums are exact."""

    usd: int = 0
    tokens: int = 0

    @classmethod
    def of(cls, usage: Usage) -> Amount:
        """The amount of a usage."""
        tokens = usage.get("input_tokens", 0) + usage.get("output_tokens", 0)
        cost = math.ceil(round(usage.get("cost_usd", 0.0) * NANO, 3))
        return cls(cost, max(tokens, usage.get("total_tokens", 0)))

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.usd + other.usd, self.tokens + other.tokens)


@runtime_checkable
class Ledger(Protocol):
    """A store of accounts. Safe from any thread and any process."""

    def change(self, name: str, work: Callable[[bytes | None], tuple[bytes | None, T]]) -> T:
        """Change an account in one transaction, and return the result of `work`.

        `work` takes the account's bytes (None: it does not exist) and returns the new bytes (None: no change) and a
        result. It may be called more than once.

        Raises:
            StoreError: the store cannot be reached, or the account was changed by other means.
        """
        ...


@dataclass(frozen=True, slots=True)
class Hold:
    """The reserved maximum cost of a call in progress. Its owner renews it before `until` (`time.time()`)."""

    amount: Amount
    until: float


@dataclass(slots=True)
class Account:
    """The account of one budget.

    Attributes:
        opened: `time.time()` when the account was opened.
        spent: the cost of all settled calls. A call of unknown cost counts with its maximum.
        unknown: number of calls of unknown cost.
        holds: owner to reservation that is not settled yet.
    """

    opened: float
    spent: Amount = field(default_factory=Amount)
    unknown: int = 0
    holds: dict[str, Hold] = field(default_factory=dict)

    @property
    def taken(self) -> Amount:
        """The amount that is spent or reserved."""
        return sum((hold.amount for hold in self.holds.values()), self.spent)

    def lost(self, now: float) -> dict[str, Hold]:
        """Reservations that will not be settled: their lease has expired, or their process has ended."""
        return {owner: hold for owner, hold in self.holds.items() if hold.until < now or is_dead(owner)}

    def settle(self, owner: str, amount: Amount | None) -> None:
        """Book the cost of a call; None: unknown."""
        hold = self.holds.pop(owner, None)
        if hold is not None:
            self.spent += hold.amount if amount is None else amount
            self.unknown += amount is None

    def encoded(self) -> bytes:
        holds = {owner: [h.amount.usd, h.amount.tokens, h.until] for owner, h in self.holds.items()}
        spent = [self.spent.usd, self.spent.tokens]
        return encode({"opened": self.opened, "spent": spent, "unknown": self.unknown, "holds": holds})

    @classmethod
    def decoded(cls, data: bytes) -> Account:
        fields: Mapping[str, Any] = decode(data)
        holds = {owner: Hold(Amount(usd, tokens), until) for owner, (usd, tokens, until) in fields["holds"].items()}
        return cls(fields["opened"], Amount(*fields["spent"]), fields["unknown"], holds)


@dataclass(frozen=True, slots=True)
class Statement:
    """The amount spent of a budget. `unknown`: number of calls that count with their maximum cost."""

    budget: Budget
    usd: float
    tokens: int
    minutes: float
    unknown: int

    def data(self) -> dict[str, Any]:
        """Name of each limit to its limit, spent and left, as plain data."""
        data: dict[str, Any] = {}
        for name, limit in self.budget:
            if limit is not None:
                spent = getattr(self, name)
                data[name] = {"limit": limit, "spent": spent, "left": max(0, limit - spent)}
        return {**data, "unknown": self.unknown} if data else {}
