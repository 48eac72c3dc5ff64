"""`plan -m flow=… key=a,b`: what a sweep would compute, what of it is known, what it may cost. Calls no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.core.plural import plural
from llmops_flows.sweeps.exit_codes import OK, WRONG
from llmops_flows.sweeps.planning import counted, estimates

if TYPE_CHECKING:
    from llmops_flows.engine.plan import StagePlan
    from llmops_flows.report.estimate import Estimate
    from llmops_flows.sweeps.grid.points import Point


def main(arguments: Sequence[str]) -> int:
    """Print the plan of a sweep, or of a single run. Returns 0, or 2 when a point's config is wrong."""
    from llmops_flows.config.budget import budget_warnings
    from llmops_flows.config.composition.override_parser import expand_globs
    from llmops_flows.config.composition.quoting import quote_overrides
    from llmops_flows.sweeps.grid.points import cells
    from llmops_flows.sweeps.grid.settings import rules

    overrides = [word for word in arguments if word not in ("-m", "--multirun")]
    flags = [word for word in overrides if word.startswith("-")]
    if flags:
        raise ConfigError(Problem(f"plan has no flag {flags[0]!r}", hint="plan -m flow=NAME group=option,option …"))
    if any(word.lstrip("+").startswith("hydra/sweeper=") for word in overrides):
        hint = "leave hydra/sweeper out, and what the search is after: then every point is counted"
        raise ConfigError(Problem("a search chooses its points as it goes: there is no plan of it", hint=hint))
    asked = expand_globs(quote_overrides(overrides))
    found = cells(asked)
    able = [cell for cell in found if cell.experiment is not None and cell.same_as is None]
    total = counted(able, alone=rules(asked)[1].alone)
    _show(found, total, estimates(able, total))
    for told in dict.fromkeys(note for cell in able if cell.experiment for note in budget_warnings(cell.experiment)):
        print(f"\n{told}")
    return WRONG if any(cell.experiment is None for cell in found) else OK


def _show(cells: Sequence[Point], total: Mapping[str, StagePlan], costs: Mapping[str, Estimate]) -> None:
    from llmops_flows.report.estimate import Estimate
    from llmops_flows.report.text.tables import format_table

    same = sum(1 for cell in cells if cell.same_as is not None)
    wrong = [cell for cell in cells if cell.experiment is None]
    print(plural(len(cells), "point") + (f", {same} of them do the same as another" if same else ""))
    rows = [[n, str(c.records), str(len(c.known)), str(len(c.new)), *_figures(costs[n])] for n, c in total.items()]
    whole = sum(costs.values(), Estimate())
    if len(rows) > 1:
        rows.append(["total", "", "", "", *_figures(whole)])
    print("\n" + format_table(["stage", "asked", "known", "to compute", "tokens", "cost", "work"], rows, 120))
    if not whole.complete:
        print("\n? is not known: nothing of the kind was ever computed here; one question tells: questions.limit=1")
    for cell in wrong:
        print(f"\npoint {cell.number} ({' '.join(cell.overrides)}) cannot run:")
        print("\n".join(f"  - {problem}" for problem in cell.problems))


def _figures(cost: Estimate) -> list[str]:
    from llmops_flows.report.estimate import format_count, format_duration, format_usd

    return [format_count(cost.tokens), format_usd(cost.usd), format_duration(cost.seconds)]
