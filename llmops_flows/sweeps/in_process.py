"""Run points together in this process, so that they share what they compute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from llmops_flows.components.store.memory import Memory
from llmops_flows.config.experiment import Experiment
from llmops_flows.config.experiment_identity import experiment_identity, question_rows
from llmops_flows.config.questions import records
from llmops_flows.config.tracing import tracer_fields
from llmops_flows.core.fingerprint import address
from llmops_flows.core.record import Record
from llmops_flows.engine.plan import PlanCheck
from llmops_flows.engine.run import Run
from llmops_flows.engine.runner import Runner

from .grid.points import Point
from .outcome import PointOutcome
from .point_results import write_results

MAX_RECORDS = 5_000
"""Maximum number of records in a batch. A larger batch needs more memory and shares no more work."""


def batches(points: Sequence[Point], block: int | None = None) -> Iterator[list[Point]]:
    """Points that one runner can run together, at most MAX_RECORDS records at once.

    block: how many questions of a point run at once; None for all.
    """
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(runner_key(point.valid_experiment), []).append(point)
    for group in groups.values():
        batch: list[Point] = []
        size = 0
        for point in group:
            settings = point.valid_experiment.settings
            questions = len(question_rows(settings))
            count = min(questions, block or questions) * settings.samples
            if batch and size + count > MAX_RECORDS:
                yield batch
                batch, size = [], 0
            batch.append(point)
            size += count
        if batch:
            yield batch


def new_run(point: Point) -> Run:
    """A run of a point over all its questions, with fresh records."""
    experiment = point.valid_experiment
    return Run(
        experiment.flow,
        records(question_rows(experiment.settings), experiment.settings.samples),
        experiment.evaluators,
        config=experiment.config,
        choices=experiment.choices,
    )


def runner_key(experiment: Experiment) -> str:
    """The address of what experiments with a common runner share: store, cache, tenant, home, tracers."""
    cache, store = experiment.cache.configuration, experiment.store.configuration if experiment.store else ""
    tracers = [tracer_fields(tracer) for tracer in experiment.tracers.values()]
    return address([cache, store, tracers, experiment.settings.tenant, str(experiment.settings.home)])


def store_key(batch: Sequence[Point]) -> str | None:
    """Identifies the store that this batch shares with other batches; None if it shares none."""
    experiment = batch[0].valid_experiment
    store, cache = experiment.store, experiment.cache
    if store is None or isinstance(store, Memory) or not cache.enabled or cache.refresh:
        return None
    return store.configuration


def run_batch(
    runner: Runner, points: Sequence[Point], folder: Path, check: PlanCheck | None = None
) -> Iterator[PointOutcome]:
    """Run points together, and write the results of each to `folder/NUMBER`.

    An interrupt writes the answers that are complete. `check` compares what the points compute with the plan.
    """
    runs = [new_run(point) for point in points]
    identities = [experiment_identity(point.valid_experiment) for point in points]
    try:
        runner.run_all(runs)
    except KeyboardInterrupt:
        for point, run in zip(points, runs, strict=True):
            write_complete(point, folder, run, [record for record in run.records if record.answer is not None])
        raise
    if check is not None:
        check.add(runs, store_key(points))
    for point, run, identity in zip(points, runs, identities, strict=True):
        yield write_results(point, folder, run, run.records, identity)


def write_complete(point: Point, folder: Path, run: Run, complete: Sequence[Record]) -> None:
    """Write the records that were complete at an interrupt, if any."""
    if complete:
        write_results(point, folder, run, complete)
