"""`plan -m flow=… key=a,b`: what a sweep would compute, what of it is known, what it may cost. Calls no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.core.plural import plural
from llmops_flows.sweeps.exit_codes import INVALID_CONFIG, OK

if TYPE_CHECKING:
    from llmops_flows.report.estimate import Estimate
    from llmops_flows.sweeps.planning import SweepPlan


def main(arguments: Sequence[str]) -> int:
    """Print the plan of a sweep, or of a single run. Returns 0, or 2 when a point's config is wrong."""
    from llmops_flows.config.composition.override_parser import expand_globs
    from llmops_flows.config.composition.quoting import quote_overrides
    from llmops_flows.sweeps.planning import plan_sweep

    overrides = [word for word in arguments if word not in ("-m", "--multirun")]
    flags = [word for word in overrides if word.startswith("-")]
    if flags:
        raise ConfigError(Problem(f"plan has no flag {flags[0]!r}", hint="plan -m flow=NAME group=option,option …"))
    if any(word.lstrip("+").startswith("hydra/sweeper=") for word in overrides):
        hint = "leave hydra/sweeper out, and what the search is after: then every point is counted"
        raise ConfigError(Problem("a search chooses its points as it goes: there is no plan of it", hint=hint))
    plan = plan_sweep(expand_globs(quote_overrides(overrides)))
    _show(plan)
    for note in plan.notes:
        print(f"\n{note}")
    return INVALID_CONFIG if any(point.experiment is None for point in plan.points) else OK


def _show(plan: SweepPlan) -> None:
    from llmops_flows.report.estimate import Estimate
    from llmops_flows.report.text.tables import format_table

    same = sum(1 for point in plan.points if point.same_as is not None)
    print(plural(len(plan.points), "point") + (f", {same} of them do the same as another" if same else ""))
    rows = [
        [name, str(stage.records), str(len(stage.known)), str(len(stage.new)), *_figures(plan.estimates[name])]
        for name, stage in plan.stages.items()
    ]
    whole = sum(plan.estimates.values(), Estimate())
    if len(rows) > 1:
        rows.append(["total", "", "", "", *_figures(whole)])
    print("\n" + format_table(["stage", "asked", "known", "to compute", "tokens", "cost", "work"], rows, 120))
    if not whole.complete:
        print("\n? is not known: nothing of the kind was ever computed here; one question tells: questions.limit=1")
    for point in plan.points:
        if point.experiment is None:
            print(f"\npoint {point.number} ({' '.join(point.overrides)}) cannot run:")
            print("\n".join(f"  - {problem}" for problem in point.problems))


def _figures(cost: Estimate) -> list[str]:
    from llmops_flows.report.estimate import format_count, format_duration, format_usd

    return [format_count(cost.tokens), format_usd(cost.usd), format_duration(cost.seconds)]
