"""What came of a point of a sweep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class PointOutcome:
    """What came of a point.

    Attributes:
        number: the point.
        summary: what summary.json holds; empty where there are no results.
        failure: why there are no results ("" where there are some).
        wrong: its config is wrong, and it was not run.
    """

    number: int
    summary: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""
    wrong: bool = False

    @property
    def failed(self) -> bool:
        """Whether anything of the point failed."""
        return self.failure != "" or any(True for _ in self.causes)

    @property
    def causes(self) -> Iterator[str]:
        """What went wrong within the point, and how often."""
        errors = self.summary.get("errors") or {}
        for cause, count in (errors.get("causes") or {}).items():
            yield f"{count} of {self.summary.get('records')}: {cause}"

    @property
    def kept(self) -> bool:
        """Whether it has an answer to show."""
        return bool(self.summary.get("answered"))


def known_share(outcomes: Iterable[PointOutcome]) -> float:
    """The share of the answers of all stages that was known, from 0 to 1."""
    stages = [counts for outcome in outcomes for counts in (outcome.summary.get("stages") or {}).values()]
    known = sum(counts.get("known", 0) for counts in stages)
    return float(known / (sum(sum(counts.values()) for counts in stages) or 1))
