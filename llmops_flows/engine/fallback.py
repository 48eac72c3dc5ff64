"""Fallbacks: which stages answer in place of one that fails, and the notes and errors that this adds."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

from llmops_flows.core.errors import BackendError, BudgetExceeded, DeadlineExceeded, FlowError
from llmops_flows.core.flow import Fallback
from llmops_flows.core.stage import Outcome, Stage


@dataclass(frozen=True, slots=True)
class Alternative:
    """A stage of a fallback chain.

    Attributes:
        name: the name under which its answer is recorded.
        stage: the stage.
        service_only: whether it answers only after errors of a service, not after errors in the code of a stage.
    """

    name: str
    stage: Stage
    service_only: bool = False

    def covers(self, error: FlowError) -> bool:
        """Whether the stage may answer after this error. No stage answers after BudgetExceeded."""
        if self.service_only:
            return isinstance(error, (BackendError, DeadlineExceeded))
        return not isinstance(error, BudgetExceeded)


Failure = tuple[Alternative, FlowError]


def alternatives(name: str, part: Stage | Fallback, *, service_only: bool = False) -> list[Alternative]:
    """The chain of a stage and its nested `fallback` stages, or of all stages of a `Fallback`."""
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
    """The outcome, with notes: the model that answered, the number of attempts, and the stage that failed.

    The answer of a fallback is not cacheable, so the next run tries the first stage again.
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
    """The error of a chain whose stages all failed: the first error, with the others in its message."""
    (_, first), *others = failures
    if not others:
        return first
    rest = "; ".join(f"then its fallback {label(alternative.stage)}: {error}" for alternative, error in others)
    error = copy(first)
    error.message = f"{first}; {rest}"
    error.args, error.__cause__ = (error.message,), first.__cause__ or others[-1][1]
    return error


def label(stage: Stage) -> str:
    """The display name of a stage: the name of its model, or its class."""
    return str(getattr(stage, "name", "") or type(stage).__name__)
