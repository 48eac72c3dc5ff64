"""What the calls of a stage may cost, and what they have cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from llmops_flows.core.record import Usage, add_usage
from llmops_flows.core.stage import Outcome, Stage

from .budget import Amount
from .budget_meter import BudgetMeter, CallCost


def bill(stage: Stage, inputs: Sequence[Mapping[str, Any]], meter: BudgetMeter | None) -> CallCost | None:
    """How one call of a stage, for all these inputs, is paid; None where it is free, or there is no budget."""
    if meter is None:
        return None
    max_cost = Amount.of(reduce(add_usage, map(stage.max_cost, inputs), Usage()))
    if max_cost == Amount() and not stage.backend:
        return None

    def cost(answer: Any) -> Amount | None:
        return _cost(stage, answer if len(inputs) > 1 or isinstance(answer, list) else [answer])

    return CallCost(meter, max_cost, cost)


def _cost(stage: Stage, answers: Sequence[Any]) -> Amount | None:
    """What answers have cost by their usage. A service that does not tell is not believed to be free."""
    usages = [answer.usage if isinstance(answer, Outcome) else Usage() for answer in answers]
    if stage.backend and not all(usages):
        return None
    return Amount.of(reduce(add_usage, usages, Usage()))
