"""`plan -m flow=… key=a,b`: what a sweep would compute, what of it is known, what it may cost. Calls no model."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from llmops_flows.core.errors import ConfigError, Fault, StoreError
from llmops_flows.core.plural import plural

from .codes import OK, WRONG

if TYPE_CHECKING:
    from llmops_flows.config.cells import Cell
    from llmops_flows.core.plan import Count
    from llmops_flows.report.estimate import Estimate, Past

_RECORDED = 500
"""How many of the last recorded answers an estimate is made from."""


def main(arguments: Sequence[str]) -> int:
    """Print the plan of a sweep, or of a single run. Returns 0, or 2 when a point's config is wrong."""
    from llmops_flows.config.cells import cells
    from llmops_flows.config.compose import expanded
    from llmops_flows.config.rules import rules
    from llmops_flows.config.spending import notes
    from llmops_flows.config.text import quoted

    overrides = [word for word in arguments if word not in ("-m", "--multirun")]
    flags = [word for word in overrides if word.startswith("-")]
    if flags:
        raise ConfigError(Fault(f"plan has no flag {flags[0]!r}", mend="plan -m flow=NAME group=option,option …"))
    if any(word.lstrip("+").startswith("hydra/sweeper=") for word in overrides):
        mend = "leave hydra/sweeper out, and what the search is after: then every point is counted"
        raise ConfigError(Fault("a search chooses its points as it goes: there is no plan of it", mend=mend))
    asked = expanded(quoted(overrides))
    found = cells(asked)
    able = [cell for cell in found if cell.experiment is not None and cell.same_as is None]
    total = counted(able, alone=rules(asked)[1].alone)
    _show(found, total, estimates(able, total))
    for told in dict.fromkeys(note for cell in able if cell.experiment for note in notes(cell.experiment)):
        print(f"\n{told}")
    return WRONG if any(cell.experiment is None for cell in found) else OK


def counted(cells: Sequence[Cell], *, alone: bool = False) -> dict[str, Count]:
    """Stage to what it would do for the cells, none of which is wrong. `alone`: each of them by itself."""
    from llmops_flows.config.load import opened
    from llmops_flows.core.plan import Count

    from .points import experiment, kept_at, lanes, waves

    total: dict[str, Count] = {}
    for number, wave in enumerate([[cell] for cell in cells] if alone else waves(cells)):
        place = kept_at(wave) or f"{number}:"
        with opened(experiment(wave[0])) as (runner, _):
            for name, count in runner.plan(lanes(wave)).items():
                total.setdefault(name, Count()).add(count, place)
    return total


def estimates(cells: Sequence[Cell], total: Mapping[str, Count]) -> dict[str, Estimate]:
    """Stage to what it will take to compute what it has to."""
    from llmops_flows.report.estimate import Estimate, History

    history = History([*_known(total), *_recorded(cells)])
    found = {}
    for name, count in total.items():
        found[name] = Estimate()
        stages = Counter(stage.identity for stage in count.new.values())
        one_of = {stage.identity: stage for stage in count.new.values()}
        for identity, answers in stages.items():
            found[name] += history.estimate(name, one_of[identity]) * answers
    return found


def _known(total: Mapping[str, Count]) -> Iterator[Past]:
    """What the answers took that are known already."""
    from llmops_flows.report.estimate import Past, component

    for name, count in total.items():
        for stage, span in count.known.values():
            yield Past(name, component(stage), stage.identity, span.took, span.usage)


def _recorded(cells: Sequence[Cell]) -> Iterator[Past]:
    """What the last recorded runs tell, whatever was asked there."""
    from llmops_flows.report.estimate import Past
    from llmops_flows.sinks.local import Local

    from .points import experiment

    tracers = [part for cell in cells[:1] for part in experiment(cell).tracers.values()]
    store = next((part.open() for part in tracers if isinstance(part, Local) and part.path.exists()), None)
    if store is None:
        return
    try:
        for trace in store.before(None, _RECORDED):
            for step in trace["steps"]:
                if step["took"]:
                    yield Past(step["stage"], step["component"], step["identity"], step["took"], step["usage"])
    except StoreError as error:
        print(f"nothing is told from recorded runs: {error}", file=sys.stderr)
    finally:
        store.close()


def _show(cells: Sequence[Cell], total: Mapping[str, Count], costs: Mapping[str, Estimate]) -> None:
    from llmops_flows.report.estimate import Estimate
    from llmops_flows.report.table import grid

    same = sum(1 for cell in cells if cell.same_as is not None)
    wrong = [cell for cell in cells if cell.experiment is None]
    print(plural(len(cells), "point") + (f", {same} of them do the same as another" if same else ""))
    rows = [[n, str(c.asked), str(len(c.known)), str(len(c.new)), *_figures(costs[n])] for n, c in total.items()]
    whole = sum(costs.values(), Estimate())
    if len(rows) > 1:
        rows.append(["total", "", "", "", *_figures(whole)])
    print("\n" + grid(["stage", "asked", "known", "to compute", "tokens", "cost", "work"], rows, 120))
    if not whole.whole:
        print("\n? is not known: nothing of the kind was ever computed here; one question tells: questions.limit=1")
    for cell in wrong:
        print(f"\npoint {cell.number} ({' '.join(cell.overrides)}) cannot run:")
        print("\n".join(f"  - {fault}" for fault in cell.faults))


def _figures(cost: Estimate) -> list[str]:
    from llmops_flows.report.estimate import duration, money, number

    return [number(cost.tokens), money(cost.usd), duration(cost.seconds)]
