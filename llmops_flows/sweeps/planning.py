"""What a sweep will compute, and what it may cost."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from llmops_flows.core.errors import StoreError

if TYPE_CHECKING:
    from llmops_flows.engine.plan import StagePlan
    from llmops_flows.report.estimate import Estimate, PastAnswer

    from .grid.points import Point


_RECORDED = 500
"""How many of the last recorded answers an estimate is made from."""


def counted(cells: Sequence[Point], *, alone: bool = False) -> dict[str, StagePlan]:
    """Stage to what it would do for the cells, none of which is wrong. `alone`: each of them by itself."""
    from llmops_flows.config.load import open_runner
    from llmops_flows.engine.plan import StagePlan

    from .in_process import experiment, kept_at, lanes, waves

    total: dict[str, StagePlan] = {}
    for number, wave in enumerate([[cell] for cell in cells] if alone else waves(cells)):
        place = kept_at(wave) or f"{number}:"
        with open_runner(experiment(wave[0])) as (runner, _):
            for name, count in runner.plan(lanes(wave)).items():
                total.setdefault(name, StagePlan()).add(count, place)
    return total


def estimates(cells: Sequence[Point], total: Mapping[str, StagePlan]) -> dict[str, Estimate]:
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


def _known(total: Mapping[str, StagePlan]) -> Iterator[PastAnswer]:
    """What the answers took that are known already."""
    from llmops_flows.report.estimate import PastAnswer, component_name

    for name, count in total.items():
        for stage, span in count.known.values():
            yield PastAnswer(name, component_name(stage), stage.identity, span.took, span.usage)


def _recorded(cells: Sequence[Point]) -> Iterator[PastAnswer]:
    """What the last recorded runs tell, whatever was asked there."""
    from llmops_flows.components.tracer.local import LocalTracer
    from llmops_flows.report.estimate import PastAnswer

    from .in_process import experiment

    tracers = [part for cell in cells[:1] for part in experiment(cell).tracers.values()]
    store = next((part.open() for part in tracers if isinstance(part, LocalTracer) and part.path.exists()), None)
    if store is None:
        return
    try:
        for trace in store.before(None, _RECORDED):
            for step in trace["steps"]:
                if step["took"]:
                    yield PastAnswer(step["stage"], step["component"], step["identity"], step["took"], step["usage"])
    except StoreError as error:
        print(f"nothing is told from recorded runs: {error}", file=sys.stderr)
    finally:
        store.close()
