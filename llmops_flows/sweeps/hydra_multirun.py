"""Run the multirun of `-m`: a sweep, a search, or the jobs of a Hydra sweeper."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.types import RunMode
from omegaconf import OmegaConf

from llmops_flows.config import saved_config
from llmops_flows.config.files.paths import ROOT
from llmops_flows.core.errors import ConfigError
from llmops_flows.engine.plan import PlanCheck
from llmops_flows.report import search_results

from .console import print_results
from .grid.points import Point, expand_points
from .grid.sweep_settings import SweepSettings, parse_settings, without_sweep_settings
from .launchers.hydra_sweeper import HydraTask, RunJob, recorded_outcomes
from .launchers.jobs import LauncherJobs
from .outcome import PointOutcome
from .resume import SweepRequest, start_sweep
from .search.definition import define_search
from .search.loop import run_search
from .shared_budget import sweep_budget
from .sweep import execute_points, exit_code, run_sweep


def run(app: Any, overrides: Sequence[str]) -> int:
    """Run the points of a sweep or search. Returns its exit code.

    Args:
        app: Hydra's application.
        overrides: as typed, those of Hydra and `sweep.*` included.

    Raises:
        ConfigError: with everything that is wrong with the overrides.
    """
    config = _sweep_config(app, overrides)
    folder = Path(str(config.hydra.sweep.dir))
    if _is_search(config):
        return _search(app, config, _without_hydra(overrides), folder)
    point_overrides, settings = parse_settings(_without_hydra(overrides))
    folder_given = any(override.lstrip("+").startswith("hydra.sweep.dir=") for override in overrides)
    # A budget does not affect answers, so the command with another budget is the same sweep.
    command = [override for override in point_overrides if not override.lstrip("+").startswith("budget.")]
    with sweep_budget() as budget:
        points = budget.apply(expand_points(_without_hydra(overrides)))
        with start_sweep(SweepRequest(points, folder, settings, command, folder_given)) as start:
            saved_config.write_sweep(start.folder, config)
            return run_sweep(points, settings, start, _launcher(app, config, settings))


def run_hydra_sweeper(app: Any, overrides: Sequence[str], run_job: RunJob) -> int:
    """Run a Hydra sweeper, which runs each point as a job. All jobs share one budget. Returns the exit code."""
    began = time.perf_counter()
    try:
        points = expand_points(_without_hydra(overrides))
    except ConfigError:  # the sweeper may have another grammar; a job with a budget fails without an account
        points = []
    with saved_config.redacted_saves(), recorded_outcomes() as record, sweep_budget() as budget:
        budget.apply(points)
        app.multirun(config_name=ROOT, task_function=HydraTask(run_job, budget.account), overrides=list(overrides))
    seconds = time.perf_counter() - began
    print_results(record.points, record.folder, record.outcomes, 0, seconds, PlanCheck())
    return exit_code(record.outcomes)


def uses_hydra_sweeper(app: Any, overrides: Sequence[str]) -> bool:
    """Whether the overrides choose a Hydra sweeper, which runs each point as a job."""
    chosen = any(override.lstrip("+").startswith("hydra/sweeper=") for override in overrides)
    return chosen and not _is_search(_sweep_config(app, overrides))


def _search(app: Any, config: Any, overrides: Sequence[str], folder: Path) -> int:
    sweeper: Any = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
    search = define_search(overrides, sweeper)
    search_results.refuse_other_study(folder, search.study)
    saved_config.write_sweep(folder, config)
    launch = _launcher(app, config, search.sweep)
    with sweep_budget() as budget:

        def run_points(points: Sequence[Point], folder: Path) -> Iterator[PointOutcome]:
            return execute_points(budget.apply(points), folder, search.sweep, launch)

        return run_search(search, folder, run_points)


def _launcher(app: Any, config: Any, settings: SweepSettings) -> LauncherJobs | None:
    """The chosen launcher; None runs the points in this process or in worker processes."""
    chosen = config.hydra.runtime.choices["hydra/launcher"]
    return None if chosen == "basic" else LauncherJobs(app, config, settings)


def _is_search(config: Any) -> bool:
    """A search names no sweeper class: `hydra.sweeper` holds its settings."""
    return "_target_" not in config.hydra.sweeper


def _sweep_config(app: Any, overrides: Sequence[str]) -> Any:
    """The config that all points share, with Hydra's part."""
    return app.compose_config(
        config_name=ROOT,
        overrides=without_sweep_settings(overrides),
        run_mode=RunMode.MULTIRUN,
        with_log_configuration=False,
    )


def _without_hydra(overrides: Sequence[str]) -> list[str]:
    return [override for override in overrides if not override.lstrip("+~").startswith(("hydra.", "hydra/"))]
