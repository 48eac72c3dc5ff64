"""The result of one point of a search, computed from its outcome and the objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..outcome import PointOutcome
from .objectives import ERRORS, Objective, parse_objectives


@dataclass(frozen=True)
class SearchResult:
    """The result of a point.

    Attributes:
        number: the number of its trial.
        figures: one per objective; None if the point failed or was stopped.
        cause: why it failed.
        stopped: when and why early stopping ended it.
    """

    number: int
    figures: tuple[float, ...] | None = None
    cause: str = ""
    stopped: str = ""


def search_result(outcome: PointOutcome, objectives: Sequence[Objective], max_error_rate: float) -> SearchResult | None:
    """The result of a point; None if the budget did not allow all calls, so that the point must run again.

    Raises:
        ConfigError: an objective is not among the computed scores, for evaluators that do not declare their metrics.
    """
    if outcome.failure:
        return SearchResult(outcome.number, cause=outcome.failure)
    summary = outcome.summary
    errors = summary["errors"]
    if errors.get("unpaid"):
        return None
    if (stopped := summary.get("stopped")) is not None:
        answers = f"after {stopped['answers']} of {stopped['of']} answers"
        return SearchResult(outcome.number, stopped=f"{answers}: clearly worse than point {stopped['behind']}")
    _check_scores(summary, objectives)
    error_rate = (errors["records"] + errors["evaluations"]) / max(1, summary["records"])
    if error_rate > max_error_rate and not any(objective.name == ERRORS for objective in objectives):
        return SearchResult(outcome.number, cause="; ".join(outcome.causes))
    figures = {objective.name: objective.figure(summary) for objective in objectives}
    missing = [name for name, figure in figures.items() if figure is None]
    if missing:
        return SearchResult(outcome.number, cause=f"no answer has a value of {', '.join(missing)}")
    return SearchResult(outcome.number, tuple(figure for figure in figures.values() if figure is not None))


def _check_scores(summary: Mapping[str, Any], objectives: Sequence[Objective]) -> None:
    if summary["answered"] and not summary["errors"]["evaluations"]:
        maximize = [objective.name for objective in objectives if objective.maximize]
        minimize = [objective.name for objective in objectives if not objective.maximize]
        parse_objectives(maximize, minimize, summary["scores"])
