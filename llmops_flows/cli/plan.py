"""`plan -m flow=… key=a,b`: what a sweep would compute, what of it is known, what it may cost. Calls no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmops_flows.core.errors import ConfigError, Fault

if TYPE_CHECKING:
    from llmops_flows.config.cells import Cell
    from llmops_flows.core.plan import Count


def main(arguments: Sequence[str]) -> int:
    """Print the plan of a sweep, or of a single run. Returns 0, or 2 when a point's config is wrong."""
    from llmops_flows.config.cells import cells
    from llmops_flows.config.compose import expanded
    from llmops_flows.config.text import quoted

    overrides = [word for word in arguments if word not in ("-m", "--multirun")]
    flags = [word for word in overrides if word.startswith("-")]
    if flags:
        raise ConfigError(Fault(f"plan has no flag {flags[0]!r}", mend="plan -m flow=NAME group=option,option …"))
    found = cells(expanded(quoted(overrides)))
    total = counted([cell for cell in found if cell.experiment is not None and cell.same_as is None])
    _show(found, total)
    return 2 if any(cell.experiment is None for cell in found) else 0


def counted(cells: Sequence[Cell]) -> dict[str, Count]:
    """Stage to what it would do for the cells, none of which is wrong."""
    from llmops_flows.config.load import opened
    from llmops_flows.core.plan import Count

    from .points import experiment, lanes, waves

    total: dict[str, Count] = {}
    for wave in waves(cells):
        with opened(experiment(wave[0])) as (runner, _):
            for name, count in runner.plan(lanes(wave)).items():
                seen = total.setdefault(name, Count())
                seen.known |= count.known
                seen.new |= count.new
                seen.asked += count.asked
    return total


def _show(cells: Sequence[Any], total: Any) -> None:
    from llmops_flows.report.table import grid

    same = sum(1 for cell in cells if cell.same_as is not None)
    wrong = [cell for cell in cells if cell.experiment is None]
    print(f"{len(cells)} points" + (f", {same} of them do the same as another" if same else ""))
    rows = [[name, str(c.asked), str(len(c.known)), str(len(c.new))] for name, c in total.items()]
    print("\n" + grid(["stage", "asked", "known", "to compute"], rows, 120))
    for cell in wrong:
        print(f"\npoint {cell.number} ({' '.join(cell.overrides)}) cannot run:")
        print("\n".join(f"  - {fault}" for fault in cell.faults))
