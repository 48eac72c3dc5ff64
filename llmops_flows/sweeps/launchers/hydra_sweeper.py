"""Run the jobs of a Hydra sweeper, and record the outcome of each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from llmops_flows.core.errors import ConfigError
from llmops_flows.report import run_files

from ..grid.points import Point
from ..outcome import PointOutcome
from ..workers.process import PROCESS, set_up_job_process
from .job_results import JobOverrides, LostJob, run_jobs

log = logging.getLogger("llmops_flows")

RunJob = Callable[[DictConfig, str | None], Mapping[str, Any]]
"""Runs the config of a job, charged to the budget account with this name. Returns the summary of the run."""


@dataclass(frozen=True)
class HydraTask:
    """The task function of each job. It raises only KeyboardInterrupt, so that a failure does not end the sweep.

    Attributes:
        run_job: runs the config of a job.
        account: the budget account that all jobs share.
        process: the process that sent the job.
    """

    run_job: RunJob
    account: str | None = None
    process: str = PROCESS

    def __call__(self, config: DictConfig) -> PointOutcome:
        set_up_job_process(self.process)
        number = int(HydraConfig.get().job.num)
        try:
            return PointOutcome(number, self.run_job(config, self.account))
        except ConfigError as error:
            return PointOutcome.of_problems(number, error.problems)
        except Exception as error:
            log.debug("point %s failed", number, exc_info=True)
            return PointOutcome(number, failure=f"{type(error).__name__}: {error}")


@dataclass
class SweeperRecord:
    """The points that a sweeper ran, the outcome of each, and the folder of the sweep."""

    points: list[Point] = field(default_factory=list)
    outcomes: list[PointOutcome] = field(default_factory=list)
    folder: Path = Path()


@contextmanager
def recorded_outcomes() -> Iterator[SweeperRecord]:
    """Within the block, record the outcomes of the jobs of every launcher that a sweeper instantiates."""
    plugins, record = Plugins.instance(), SweeperRecord()
    instantiate = plugins.instantiate_launcher

    def instantiate_recording(*arguments: Any, **options: Any) -> Any:
        record.folder = Path(str(options["config"].hydra.sweep.dir))
        launcher = instantiate(*arguments, **options)
        launcher.launch = _recording(launcher.launch, record)  # type: ignore[method-assign]
        return launcher

    plugins.instantiate_launcher = instantiate_recording  # type: ignore[method-assign]
    try:
        yield record
    finally:
        del plugins.instantiate_launcher


def _recording(launch: Any, record: SweeperRecord) -> Any:
    """A launcher's `launch` that reports every job as completed, since a sweeper ends at the first failed job."""

    def launch_and_record(job_overrides: JobOverrides, initial_job_idx: int) -> list[JobReturn]:
        results = run_jobs(launch, job_overrides, initial_job_idx)
        for number, (overrides, result) in enumerate(zip(job_overrides, results, strict=True), initial_job_idx):
            outcome = PointOutcome(number, failure=result.cause) if isinstance(result, LostJob) else result
            record.points.append(Point(number, tuple(overrides), None))
            record.outcomes.append(outcome)
            folder = record.folder / str(number)
            if outcome.failure and folder.is_dir():
                run_files.write_failure(folder, outcome.failure)
        return [JobReturn(overrides=list(o), status=JobStatus.COMPLETED, _return_value=None) for o in job_overrides]

    return launch_and_record
