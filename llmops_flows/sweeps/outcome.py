"""The outcome of one point of a sweep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmops_flows.core.errors import Problem


@dataclass(frozen=True)
class PointOutcome:
    """The outcome of one point.

    Attributes:
        number: the point.
        summary: the content of summary.json; empty if the point has no results.
        failure: why it has no results; "" if it has some.
        invalid: whether its config is invalid, so that it was not run.
    """

    number: int
    summary: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""
    invalid: bool = False

    @classmethod
    def of_problems(cls, number: int, problems: Sequence[Problem]) -> PointOutcome:
        """The outcome of a point whose config has these problems."""
        return cls(number, failure="\n".join(map(str, problems)), invalid=True)

    @property
    def failed(self) -> bool:
        """Whether the point, or any of its answers and scores, failed."""
        return bool(self.failure or self.causes)

    @property
    def causes(self) -> list[str]:
        """The errors of its answers and scores, with the number of occurrences."""
        causes = (self.summary.get("errors") or {}).get("causes") or {}
        return [f"{count} of {self.summary.get('records')}: {cause}" for cause, count in causes.items()]

    @property
    def answered(self) -> bool:
        """Whether it has at least one answer."""
        return bool(self.summary.get("answered"))


def cached_share(outcomes: Iterable[PointOutcome]) -> float:
    """The share of all stage results that came from the cache, from 0 to 1."""
    stages = [counts for outcome in outcomes for counts in (outcome.summary.get("stages") or {}).values()]
    cached = sum(counts.get("known", 0) for counts in stages)
    return float(cached / (sum(sum(counts.values()) for counts in stages) or 1))
