"""What the calls of a stage may cost, and what they have cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from .budget import Amount
from .purse import Bill, Purse
from .record import Usage, add_usage
from .stage import Outcome, Stage


def bill(stage: Stage, inputs: Sequence[Mapping[str, Any]], purse: Purse | None) -> Bill | None:
    """How one call of a stage, for all these inputs, is paid; None where it is free, or there is no budget."""
    if purse is None:
        return None
    worst = Amount.of(reduce(add_usage, map(stage.worst, inputs), Usage()))
    if worst == Amount() and not stage.backend:
        return None

    def cost(answer: Any) -> Amount | None:
        return _cost(stage, answer if len(inputs) > 1 or isinstance(answer, list) else [answer])

    return Bill(purse, worst, cost)


def _cost(stage: Stage, answers: Sequence[Any]) -> Amount | None:
    """What answers have cost by their usage. A service that does not tell is not believed to be free."""
    usages = [answer.usage if isinstance(answer, Outcome) else Usage() for answer in answers]
    if stage.backend and not all(usages):
        return None
    return Amount.of(reduce(add_usage, usages, Usage()))
