"""Fallbacks: which stages may answer in place of one that fails, and what their answers and errors say."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

from llmops_flows.core.errors import BackendError, BudgetExceeded, DeadlineExceeded, FlowError
from llmops_flows.core.flow import Fallback
from llmops_flows.core.stage import Outcome, Stage


@dataclass(frozen=True, slots=True)
class Alternative:
    """One of the stages that may give an answer, in order.

    Attributes:
        name: the name under which its answer is recorded.
        stage: the stage.
        service_only: it answers only for errors of a service, not for mistakes in the code of the stage before it.
    """

    name: str
    stage: Stage
    service_only: bool = False

    def covers(self, error: FlowError) -> bool:
        """Whether it may answer after this error. No stage answers for one that the budget does not allow."""
        if self.service_only:
            return isinstance(error, (BackendError, DeadlineExceeded))
        return not isinstance(error, BudgetExceeded)


Failure = tuple[Alternative, FlowError]


def alternatives(name: str, part: Stage | Fallback, *, service_only: bool = False) -> list[Alternative]:
    """A stage with its `fallback` and the fallbacks of that; or all stages of a `Fallback` with theirs."""
    if isinstance(part, Fallback):
        return [a for inner, stage in part.leaves(f"{name}.") for a in alternatives(inner, stage)]
    fallback = getattr(part, "fallback", None)
    others = alternatives(name, fallback, service_only=True) if isinstance(fallback, Stage) else []
    return [Alternative(name, part, service_only), *others]


def following(chain: Sequence[Alternative], error: FlowError) -> Sequence[Alternative]:
    """The rest of the chain that may answer after its first stage failed with this error."""
    rest = chain[1:]
    while rest and not rest[0].covers(error):
        rest = rest[1:]
    return rest


def annotate(outcome: Outcome, stage: Stage, attempts: int, failures: Sequence[Failure]) -> Outcome:
    """The outcome, with notes on which model answered, after how many attempts, and for which stage.

    The answer of a fallback is not cacheable: the stage that it answers for is tried again next time.
    """
    notes = dict(outcome.notes)
    if hasattr(stage, "name") and (stage.backend or failures):
        notes.setdefault("model", label(stage))
    if attempts > 1:
        notes["attempts"] = attempts
    if not failures:
        return replace(outcome, notes=notes) if len(notes) > len(outcome.notes) else outcome
    first, error = failures[0]
    notes |= {"fallback_for": label(first.stage), "fallback_reason": str(error)}
    return replace(outcome, cacheable=False, notes=notes)


def combined_error(failures: Sequence[Failure]) -> FlowError:
    """One error for a chain of stages that all failed: the first one's, with the others in its message."""
    (_, first), *others = failures
    if not others:
        return first
    rest = "; ".join(f"then its fallback {label(alternative.stage)}: {error}" for alternative, error in others)
    error = copy(first)
    error.message = f"{first}; {rest}"
    error.args, error.__cause__ = (error.message,), first.__cause__ or others[-1][1]
    return error


def label(stage: Stage) -> str:
    """A stage's name for people: that of its model, else its class."""
    return str(getattr(stage, "name", "") or type(stage).__name__)
