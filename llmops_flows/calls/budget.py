"""A budget, and the account that all who spend from it share: what was spent, and what calls under way may cost."""

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
    """What may be spent at most, over all threads, processes and machines. Decides no answer.

    usd, tokens: of model calls, those of evaluators and embedders too; no call begins that could go beyond. minutes:
    after which no call begins. None: no limit. 0: nothing at all, so that only what is known is answered.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    usd: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = None
    tokens: Annotated[int, Field(ge=0, le=10**12)] | None = None
    minutes: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = None

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return any(limit is not None for _, limit in self)

    def limits(self) -> Iterator[tuple[str, int]]:
        """The limits that have to be shared, by their names, in the units of an Amount."""
        if self.usd is not None:
            yield "usd", math.floor(round(self.usd * NANO, 3))
        if self.tokens is not None:
            yield "tokens", self.tokens


@dataclass(frozen=True, slots=True)
class Amount:
    """Money and tokens. `usd` is counted in billionths of a dollar and rounded up, so that sums are exact."""

    usd: int = 0
    tokens: int = 0

    @classmethod
    def of(cls, usage: Usage) -> Amount:
        """What a usage comes to."""
        tokens = usage.get("input_tokens", 0) + usage.get("output_tokens", 0)
        cost = math.ceil(round(usage.get("cost_usd", 0.0) * NANO, 3))
        return cls(cost, max(tokens, usage.get("total_tokens", 0)))

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.usd + other.usd, self.tokens + other.tokens)


@runtime_checkable
class Ledger(Protocol):
    """A store that keeps accounts, too. Safe from any thread and any process."""

    def change(self, name: str, work: Callable[[bytes | None], tuple[bytes | None, T]]) -> T:
        """Put what `work` makes of an account in its place, while nobody else changes it.

        `work` is given None where there is no such account, and gives None for one that stays as it is; the second
        thing that it gives is the answer. It may be called more than once.

        Raises:
            StoreError: the store cannot be reached, or somebody has changed the account behind its back.
        """
        ...


@dataclass(frozen=True, slots=True)
class Hold:
    """What a call under way may cost at most, and until when (`time.time()`) its owner has promised to settle it."""

    amount: Amount
    until: float


@dataclass(slots=True)
class Account:
    """What was spent from one budget.

    Attributes:
        begun: `time.time()` when it was opened.
        spent: what calls have cost; where nobody knows that, the most that they may have cost.
        unknown: how many calls that are.
        holds: calls that nobody has settled, by their owners. They count like what was spent.
    """

    begun: float
    spent: Amount = field(default_factory=Amount)
    unknown: int = 0
    holds: dict[str, Hold] = field(default_factory=dict)

    @property
    def taken(self) -> Amount:
        """What was spent, and may yet be by calls under way."""
        return sum((hold.amount for hold in self.holds.values()), self.spent)

    def lost(self, now: float) -> dict[str, Hold]:
        """Holds that nobody will settle any more: their lease is over, or their process is no more."""
        return {owner: hold for owner, hold in self.holds.items() if hold.until < now or is_dead(owner)}

    def settle(self, owner: str, amount: Amount | None) -> None:
        """A call has cost so much; None: nobody knows how much."""
        hold = self.holds.pop(owner, None)
        if hold is not None:
            self.spent += hold.amount if amount is None else amount
            self.unknown += amount is None

    def encoded(self) -> bytes:
        holds = {owner: [h.amount.usd, h.amount.tokens, h.until] for owner, h in self.holds.items()}
        spent = [self.spent.usd, self.spent.tokens]
        return encode({"begun": self.begun, "spent": spent, "unknown": self.unknown, "holds": holds})

    @classmethod
    def decoded(cls, data: bytes) -> Account:
        said: Mapping[str, Any] = decode(data)
        holds = {owner: Hold(Amount(usd, tokens), until) for owner, (usd, tokens, until) in said["holds"].items()}
        return cls(said["begun"], Amount(*said["spent"]), said["unknown"], holds)


@dataclass(frozen=True, slots=True)
class Statement:
    """What was spent of a budget. `unknown`: how many calls count at the most that they may have cost."""

    budget: Budget
    usd: float
    tokens: int
    minutes: float
    unknown: int

    def data(self) -> dict[str, Any]:
        """The same as plain data: limit, spent and left of what is limited."""
        found: dict[str, Any] = {}
        for name, limit in self.budget:
            if limit is not None:
                spent = getattr(self, name)
                found[name] = {"limit": limit, "spent": spent, "left": max(0, limit - spent)}
        return {**found, "unknown": self.unknown} if found else {}
