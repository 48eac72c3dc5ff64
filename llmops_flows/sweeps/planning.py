"""Plan a sweep: the results that it will compute, and their estimated cost."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from llmops_flows.components.tracer.local import LocalTracer
from llmops_flows.config.load import open_runner
from llmops_flows.config.run_budget import budget_warnings
from llmops_flows.core.errors import StoreError
from llmops_flows.engine.plan import StagePlan
from llmops_flows.report.estimate import Estimate, History, PastAnswer, component_name

from .grid.points import Point, expand_points
from .grid.sweep_settings import parse_settings
from .in_process import batches, new_run, store_key

_MAX_TRACES = 500
"""Maximum number of recorded answers that an estimate is based on."""


@dataclass(frozen=True)
class SweepPlan:
    """The plan of a sweep.

    Attributes:
        points: all points, including invalid ones.
        stages: stage to its cached and new results.
        estimates: stage to the estimated cost of its new results.
        notes: warnings about models that the budget does not limit, or of which it does not allow one call.
    """

    points: Sequence[Point]
    stages: Mapping[str, StagePlan]
    estimates: Mapping[str, Estimate]
    notes: Sequence[str]


def plan_sweep(overrides: Sequence[str]) -> SweepPlan:
    """The plan of the sweep with these overrides. Calls no model. Raises ConfigError."""
    points = expand_points(overrides)
    distinct = [point for point in points if point.experiment is not None and point.same_as is None]
    stages = plan_stages(distinct, isolated=parse_settings(overrides)[1].isolated)
    budget_notes = dict.fromkeys(note for point in distinct for note in budget_warnings(point.valid_experiment))
    return SweepPlan(points, stages, estimate_stages(distinct, stages), list(budget_notes))


def plan_stages(points: Sequence[Point], *, isolated: bool = False) -> dict[str, StagePlan]:
    """Stage to its plan for these valid points. `isolated`: each point runs in a separate batch."""
    total: dict[str, StagePlan] = {}
    for number, batch in enumerate([[point] for point in points] if isolated else batches(points)):
        store = store_key(batch) or f"{number}:"
        with open_runner(batch[0].valid_experiment) as (runner, _):
            for name, plan in runner.plan([new_run(point) for point in batch]).items():
                total.setdefault(name, StagePlan()).add(plan, store)
    return total


def estimate_stages(points: Sequence[Point], plans: Mapping[str, StagePlan]) -> dict[str, Estimate]:
    """Stage to the estimated cost of its new results."""
    history = History([*_cached(plans), *_recorded(points)])
    estimates = {}
    for name, plan in plans.items():
        estimates[name] = Estimate()
        stages = {stage.identity: stage for stage in plan.new.values()}
        for identity, count in Counter(stage.identity for stage in plan.new.values()).items():
            estimates[name] += history.estimate(name, stages[identity]) * count
    return estimates


def _cached(plans: Mapping[str, StagePlan]) -> Iterator[PastAnswer]:
    """The cost of the results that are cached."""
    for name, plan in plans.items():
        for stage, span in plan.known.values():
            yield PastAnswer(name, component_name(stage), stage.identity, span.took, span.usage)


def _recorded(points: Sequence[Point]) -> Iterator[PastAnswer]:
    """The cost of the steps of the last recorded runs, regardless of their questions."""
    tracers = [tracer for point in points[:1] for tracer in point.valid_experiment.tracers.values()]
    store = next(
        (tracer.open() for tracer in tracers if isinstance(tracer, LocalTracer) and tracer.path.exists()), None
    )
    if store is None:
        return
    try:
        for trace in store.before(None, _MAX_TRACES):
            for step in trace["steps"]:
                if step["took"]:
                    yield PastAnswer(step["stage"], step["component"], step["identity"], step["took"], step["usage"])
    except StoreError as error:
        print(f"the estimate ignores recorded runs: {error}", file=sys.stderr)
    finally:
        store.close()
