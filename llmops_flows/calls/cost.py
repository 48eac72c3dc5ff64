"""The maximum cost of a call, and its actual cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, cast

from llmops_flows.core.errors import BackendError
from llmops_flows.core.record import Usage, add_usage
from llmops_flows.core.stage import Outcome, Stage

from .budget_account import Amount
from .budget_reservation import BudgetMeter

NOT_BILLED = frozenset({400, 401, 402, 403, 404, 405, 413, 422, 429})
"""HTTP statuses of requests that services do not bill."""


@dataclass(frozen=True, slots=True)
class CallCost:
    """The budget of a request, its maximum cost, and a function from its answer to its cost (None: unknown)."""

    meter: BudgetMeter
    max_cost: Amount
    cost: Callable[[Any], Amount | None]


def stage_cost(stage: Stage, inputs: Sequence[Mapping[str, Any]], meter: BudgetMeter | None) -> CallCost | None:
    """The cost of one call of a stage for these inputs; None if the call is free or has no budget."""
    if meter is None:
        return None
    max_cost = Amount.of(reduce(add_usage, map(stage.max_cost, inputs), Usage()))
    if max_cost == Amount() and not stage.backend:
        return None

    def cost(answer: Any) -> Amount | None:
        return _answers_cost(stage, answer if len(inputs) > 1 or isinstance(answer, list) else [answer])

    return CallCost(meter, max_cost, cost)


def _answers_cost(stage: Stage, answers: Sequence[Any]) -> Amount | None:
    """The cost of answers, from their usage; None if a service reports no usage."""
    usages = [answer.usage if isinstance(answer, Outcome) else Usage() for answer in answers]
    if stage.backend and not all(usages):
        return None
    return Amount.of(reduce(add_usage, usages, Usage()))


def error_cost(error: BaseException) -> Amount | None:
    """The cost of a request that failed; None: unknown."""
    if not isinstance(error, BackendError):
        return None
    if error.usage:
        return Amount.of(cast(Usage, error.usage))
    return Amount() if error.status in NOT_BILLED and not error.began else None
