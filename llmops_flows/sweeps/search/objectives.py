"""The objectives of a search: figures of a run's summary, each to be maximized or minimized."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.text.suggestions import did_you_mean

SCORES = "scores."
ERRORS = "errors"
Summary = Mapping[str, Any]

FIGURES: dict[str, Callable[[Summary], Any]] = {
    "cost_usd": lambda s: s["uncached"]["usage"].get("cost_usd", 0.0),
    "latency.p50": lambda s: s["uncached"]["latency"]["p50"],
    "latency.p95": lambda s: s["uncached"]["latency"]["p95"],
    "tokens": lambda s: s["uncached"]["usage"].get("input_tokens", 0) + s["uncached"]["usage"].get("output_tokens", 0),
    "input_tokens": lambda s: s["uncached"]["usage"].get("input_tokens", 0),
    "output_tokens": lambda s: s["uncached"]["usage"].get("output_tokens", 0),
    ERRORS: lambda s: s["errors"]["records"],
    "refused": lambda s: s["refused"],
}
"""The figures of every summary. Cost and time are those of a run without a cache, so that a point that reuses answers
of another point does not seem cheaper."""


@dataclass(frozen=True)
class Objective:
    """A figure of the summary (`scores.NAME`, or one of FIGURES), and whether to maximize or minimize it."""

    name: str
    maximize: bool

    @property
    def key(self) -> str:
        """The setting that names it."""
        return f"sweep.{'maximize' if self.maximize else 'minimize'}"

    def figure(self, summary: Summary) -> float | None:
        """The figure of a run; None if the run does not have it."""
        if self.name.startswith(SCORES):
            value = (summary["scores"].get(self.name.removeprefix(SCORES)) or {}).get("mean")
        else:
            value = FIGURES[self.name](summary)
        return float(value) if value is not None and math.isfinite(value) else None


def parse_objectives(
    maximize: Sequence[str], minimize: Sequence[str], metrics: Iterable[str], *, complete: bool = True
) -> tuple[Objective, ...]:
    """The objectives with these names.

    Args:
        maximize, minimize: the names, in order.
        metrics: the metrics that the evaluators declare.
        complete: whether the evaluators compute no other metrics.

    Raises:
        ConfigError: there are no objectives, a name is unknown, or a name occurs twice.
    """
    known = [*(f"{SCORES}{metric}" for metric in metrics), *FIGURES]
    objectives = [Objective(name, True) for name in maximize] + [Objective(name, False) for name in minimize]
    if not objectives:
        hint = f"sweep.maximize=[NAME] or sweep.minimize=[NAME], where NAME is one of: {', '.join(known)}"
        raise ConfigError(Problem("a search needs an objective", "sweep.maximize", hint=hint))
    names = [objective.name for objective in objectives]
    problems = [
        Problem(f"unknown objective {objective.name!r}", objective.key, hint=did_you_mean(objective.name, known))
        for objective in objectives
        if objective.name not in known and (complete or not objective.name.startswith(SCORES))
    ]
    problems += [
        Problem(f"{name!r} occurs {names.count(name)} times", "sweep.maximize", hint="name it once")
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    if problems:
        raise ConfigError(problems)
    return tuple(objectives)
