"""What a search may be after: figures of a run's summary, by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.text.suggestions import did_you_mean

SCORES = "scores."
Summary = Mapping[str, Any]

FIGURES: dict[str, Callable[[Summary], Any]] = {
    "cost_usd": lambda s: s["uncached"]["usage"].get("cost_usd", 0.0),
    "latency.p50": lambda s: s["uncached"]["latency"]["p50"],
    "latency.p95": lambda s: s["uncached"]["latency"]["p95"],
    "tokens": lambda s: s["uncached"]["usage"].get("input_tokens", 0) + s["uncached"]["usage"].get("output_tokens", 0),
    "input_tokens": lambda s: s["uncached"]["usage"].get("input_tokens", 0),
    "output_tokens": lambda s: s["uncached"]["usage"].get("output_tokens", 0),
    "errors": lambda s: s["errors"]["records"],
    "refused": lambda s: s["refused"],
}
"""What every summary has. Cost and time are those of a run in which nothing is known: another point that paid before
makes none look cheap."""


@dataclass(frozen=True)
class Objective:
    """A figure of the summary (`scores.NAME`, or one of FIGURES), to be made as large or as small as can be."""

    name: str
    maximize: bool

    def value(self, summary: Summary) -> float | None:
        """The figure of a run; None where the run does not have it."""
        if self.name.startswith(SCORES):
            found = (summary["scores"].get(self.name.removeprefix(SCORES)) or {}).get("mean")
        else:
            found = FIGURES[self.name](summary)
        return float(found) if found is not None and math.isfinite(found) else None

    def __str__(self) -> str:
        return f"{self.name} ({'more' if self.maximize else 'less'} is better)"


def objectives(
    maximize: Sequence[str], minimize: Sequence[str], metrics: Iterable[str], *, sure: bool = True
) -> tuple[Objective, ...]:
    """The objectives of these names.

    Args:
        maximize, minimize: their names, in order.
        metrics: the scores that the evaluators give.
        sure: whether they give no others.

    Raises:
        ConfigError: there is none, a name is not known, or one is given twice.
    """
    known = [*(f"{SCORES}{metric}" for metric in metrics), *FIGURES]
    found = [Objective(name, True) for name in maximize] + [Objective(name, False) for name in minimize]
    if not found:
        hint = f"sweep.maximize=[NAME] or sweep.minimize=[NAME], NAME of: {', '.join(known)}"
        raise ConfigError(Problem("a search needs something to reach", "sweep.maximize", hint=hint))
    names = [objective.name for objective in found]
    problems = [
        Problem(f"there is no figure {one.name!r}", _key(one), hint=did_you_mean(one.name, known))
        for one in found
        if one.name not in known and (sure or not one.name.startswith(SCORES))
    ]
    problems += [
        Problem(f"{name!r} is asked for {names.count(name)} times", "sweep.maximize", hint="name it once")
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    if problems:
        raise ConfigError(problems)
    return tuple(found)


def _key(objective: Objective) -> str:
    return f"sweep.{'maximize' if objective.maximize else 'minimize'}"
