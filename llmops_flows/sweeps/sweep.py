"""Run the points of a sweep: in this process, in worker processes, or as jobs of a launcher."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from llmops_flows.config.load import open_runner
from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.engine.plan import PlanCheck
from llmops_flows.report import run_files

from .console import print_results, print_resumed
from .early_stopping import EarlyStopping
from .exit_codes import FAILED, INVALID_CONFIG, OK, PARTLY_FAILED
from .grid.points import Point
from .grid.sweep_settings import SweepSettings
from .in_process import batches, run_batch
from .outcome import PointOutcome, cached_share
from .point_results import copy_results
from .resume import SweepStart
from .sweep_progress import SweepProgress
from .workers.pool import Task, WorkerPool
from .workers.worker import point_task

LaunchPoints = Callable[[Sequence[Point], Path], Generator[PointOutcome, None, None]]
"""Runs points with a launcher, and writes the results of each to `FOLDER/NUMBER`."""
WORKER = "llmops_flows.sweeps.workers.worker"


def run_sweep(
    points: Sequence[Point], settings: SweepSettings, start: SweepStart, launch: LaunchPoints | None = None
) -> int:
    """Run the unfinished points, and print the results of all points. Returns the exit code, see `exit_code`.

    A point that is invalid or fails does not stop the others. Points that do the same work run once.
    """
    if launch is not None and settings.stop is not None:
        hint = "leave out sweep.stop or hydra/launcher"
        raise ConfigError(Problem("stop compares points of one process", "sweep.stop", hint=hint))
    began = time.perf_counter()
    print_resumed(start, len(points), isolated=settings.isolated)
    finished = {outcome.number for outcome in start.finished}
    outcomes, check = list(start.finished), PlanCheck()
    try:
        remaining = [point for point in points if point.number not in finished]
        outcomes.extend(execute_points(remaining, start.folder, settings, launch, check))
    except KeyboardInterrupt as interrupt:
        progress, folder = f"after {len(outcomes)} of {len(points)} points", run_files.relative_path(start.folder)
        interrupt.args = (f"interrupted {progress}; the same command continues in {folder}",)
        raise
    print_results(points, start.folder, outcomes, len(finished), time.perf_counter() - began, check)
    return exit_code(outcomes)


def exit_code(outcomes: Sequence[PointOutcome]) -> int:
    """The exit code of a sweep; INVALID_CONFIG if nothing else is wrong."""
    if any(outcome.failed and not outcome.invalid for outcome in outcomes):
        return PARTLY_FAILED if any(outcome.answered for outcome in outcomes) else FAILED
    return INVALID_CONFIG if any(outcome.invalid for outcome in outcomes) else OK


def execute_points(
    points: Sequence[Point],
    folder: Path,
    settings: SweepSettings,
    launch: LaunchPoints | None = None,
    check: PlanCheck | None = None,
) -> Iterator[PointOutcome]:
    """Run points, write the results of each to `folder/NUMBER`, and yield each outcome as soon as it is known.

    Args:
        points: points of one sweep. Another point may have done the same work before in the folder.
        settings: with `fail_fast`, the first failure is the last outcome.
        launch: runs the points with a launcher instead of on this machine.
        check: compares the results of points in this process with the plan.
    """
    numbers = {point.number for point in points}
    distinct = [point for point in points if point.experiment is not None and point.same_as is None]
    duplicates: dict[int, list[Point]] = {}
    for point in points:
        if point.experiment is None:
            yield _saved(PointOutcome.of_problems(point.number, point.problems), folder)
        elif point.same_as in numbers:
            duplicates.setdefault(point.same_as, []).append(point)
        elif point.same_as is not None:
            yield _saved(copy_results(point, folder), folder)
    with closing(_start(distinct, folder, settings, launch, check)) as outcomes:
        for outcome in outcomes:
            yield _saved(outcome, folder)
            yield from (_saved(copy_results(point, folder), folder) for point in duplicates.get(outcome.number, ()))
            if settings.fail_fast and outcome.failed:
                return


def _start(
    points: Sequence[Point],
    folder: Path,
    settings: SweepSettings,
    launch: LaunchPoints | None,
    check: PlanCheck | None,
) -> Generator[PointOutcome, None, None]:
    if launch is not None:
        return launch(points, folder)
    if settings.in_workers:
        return _run_in_workers(points, folder, settings)
    return _run_in_process(points, folder, settings, check)


def _saved(outcome: PointOutcome, folder: Path) -> PointOutcome:
    """The outcome, its failure written to the folder of the point."""
    if outcome.failure:
        try:
            run_files.write_failure(folder / str(outcome.number), outcome.failure)
        except OSError:
            pass  # the failure is also printed at the end
    return outcome


def _run_in_process(
    points: Sequence[Point], folder: Path, settings: SweepSettings, check: PlanCheck | None
) -> Generator[PointOutcome, None, None]:
    progress = SweepProgress()
    if settings.stop is not None:
        yield from EarlyStopping(points, folder, settings, progress, check).run()
        return
    for batch in [[point] for point in points] if settings.isolated else batches(points):
        with open_runner(batch[0].valid_experiment, [progress]) as (runner, _):
            outcomes = list(run_batch(runner, batch, folder, check))
        yield from outcomes


def _run_in_workers(
    points: Sequence[Point], folder: Path, settings: SweepSettings
) -> Generator[PointOutcome, None, None]:
    tasks, outcomes = [Task(point_task(point, folder), point.stage_path) for point in points], list[PointOutcome]()
    workers, progress = min(settings.workers, len(tasks)), SweepProgress()
    command = [sys.executable, "-m", WORKER, str(workers)]

    def show_progress() -> None:
        progress.show("points", len(outcomes), len(tasks), cached_share(outcomes))

    with closing(progress), WorkerPool(command, workers, timeout=settings.timeout, tick=show_progress) as pool:
        for position, result in pool.run(tasks):
            number = points[position].number
            outcome = PointOutcome(number, failure=result) if isinstance(result, str) else PointOutcome(**result)
            outcomes.append(outcome)
            yield outcome
