"""What a point of a search reached, judged by what it was after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..outcome import PointOutcome
from .objectives import Objective, objectives


@dataclass(frozen=True)
class SearchResult:
    """A point that was tried.

    Attributes:
        number: of its trial.
        figures: what it reached, one for each objective; None where it failed or was stopped.
        cause: why it failed.
        stopped: where it was stopped early.
    """

    number: int
    figures: tuple[float, ...] | None = None
    cause: str = ""
    stopped: str = ""


def judged(outcome: PointOutcome, wanted: Sequence[Objective], most: float) -> SearchResult | None:
    """What a point reached; None where the budget did not allow it, so that it is still to be tried.

    wanted: the objectives of the search. most: the share of failed answers and scores with which a point has not
    failed.

    Raises:
        ConfigError: an objective is no score that was given: some evaluators do not say beforehand what they give.
    """
    if outcome.failure:
        return SearchResult(outcome.number, cause=outcome.failure)
    summary = outcome.summary
    errors = summary["errors"]
    if errors.get("unpaid"):
        return None
    if (stopped := summary.get("stopped")) is not None:
        told = f"after {stopped['asked']} of {stopped['of']} answers: worse than {stopped['behind']} beyond doubt"
        return SearchResult(outcome.number, stopped=told)
    _known(summary, wanted)
    rate = (errors["records"] + errors["evaluations"]) / max(1, summary["records"])
    if rate > most and not any(one.name == "errors" for one in wanted):
        return SearchResult(outcome.number, cause="; ".join(outcome.causes))
    figures = [one.value(summary) for one in wanted]
    missing = [one.name for one, figure in zip(wanted, figures, strict=True) if figure is None]
    if missing:
        return SearchResult(outcome.number, cause=f"{', '.join(missing)} says nothing about any of its answers")
    return SearchResult(outcome.number, tuple(figure for figure in figures if figure is not None))


def _known(summary: Mapping[str, Any], wanted: Sequence[Objective]) -> None:
    if summary["answered"] and not summary["errors"]["evaluations"]:
        names = [[one.name for one in wanted if one.maximize is more] for more in (True, False)]
        objectives(names[0], names[1], summary["scores"])
