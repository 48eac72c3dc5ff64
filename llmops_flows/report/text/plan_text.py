"""The plan of a sweep as text: the answers that each stage would compute, and their estimated cost."""

from __future__ import annotations

from collections.abc import Mapping

from llmops_flows.core.plural import plural
from llmops_flows.engine.plan import StagePlan

from ..estimate import Estimate, format_count, format_duration, format_usd
from .tables import format_table


def format_plan(points: int, copies: int, plans: Mapping[str, StagePlan], costs: Mapping[str, Estimate]) -> str:
    """`copies`: the number of points with the same config as another point. `plans`, `costs`: by stage."""
    head = plural(points, "point") + (f", {copies} of them with the same config as another" if copies else "")
    rows = [
        [name, str(plan.records), str(len(plan.known)), str(len(plan.new)), *_figures(costs[name])]
        for name, plan in plans.items()
    ]
    total = sum(costs.values(), Estimate())
    if len(rows) > 1:
        rows.append(["total", "", "", "", *_figures(total)])
    heads = ["stage", "requested", "known", "to compute", "tokens", "cost", "work"]
    parts = [head, format_table(heads, rows)]
    if not total.complete:
        parts.append(
            "? is unknown: this stage has not run here before; to estimate it, run once with questions.limit=1"
        )
    return "\n\n".join(parts)


def _figures(cost: Estimate) -> list[str]:
    return [format_count(cost.tokens), format_usd(cost.usd), format_duration(cost.seconds)]
