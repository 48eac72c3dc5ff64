"""Build the jobs of a Hydra launcher (joblib, Ray, submitit …). A job runs several points together."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from hydra._internal.callbacks import Callbacks
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import open_dict, read_write

from llmops_flows.config.composition.quoting import quote
from llmops_flows.core.errors import ConfigError
from llmops_flows.report import run_files

from ..grid.points import Point
from ..grid.sweep_settings import SweepSettings
from ..outcome import PointOutcome
from ..sweep import execute_points
from ..workers.process import PROCESS, set_up_job_process
from ..workers.task_queue import shared_prefix_order
from ..workers.worker import point_task, task_point
from .job_results import LostJob, run_jobs

JOBS_PER_SLOT = 4
"""Jobs per slot of the launcher. With fewer, slots are idle at the end; with more, points share less work."""
_last_points: list[Point] = []
"""The points of the last job in this process. Keeps their loaded models alive for the next job."""


@dataclass(frozen=True)
class JobOutcome:
    """The outcome of a point that ran in a job.

    files: the point's results by file name, if the job could not write to the folder of the sweep.
    """

    outcome: PointOutcome
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class JobBatch:
    """The task function of the jobs of one launch: Hydra calls it in each job.

    Attributes:
        jobs: for each job, its points as compressed JSON.
        first: the number of the first job.
        folder: the folder of the sweep.
        marker: the name of a file in it; a job that does not see the file runs on another disk.
        settings: the settings of the sweep that hold within a job.
        process: the process that sends the jobs.
    """

    jobs: Sequence[bytes]
    first: int
    folder: str
    marker: str
    settings: Mapping[str, Any]
    process: str = PROCESS

    def __call__(self, _: Any) -> list[JobOutcome]:
        """Run the points of the current Hydra job."""
        set_up_job_process(self.process)
        return self.run(int(HydraConfig.get().job.num))

    def run(self, job: int) -> list[JobOutcome]:
        """Run the points of the job with this number."""
        points = [_unpack(task) for task in json.loads(zlib.decompress(self.jobs[job - self.first]))]
        with _writable_folder(Path(self.folder), self.marker) as (folder, is_shared):
            outcomes = list(execute_points(points, folder, SweepSettings(**self.settings)))
            results = [
                JobOutcome(outcome, {} if is_shared else _read_files(folder / str(outcome.number)))
                for outcome in outcomes
            ]
        _last_points[:] = points
        return results


class LauncherJobs:
    """Runs points as jobs of the launcher that a config chooses.

    Args:
        app: Hydra's application.
        config: the config that all points share, with Hydra's part.
        settings: the settings of the sweep.
    """

    def __init__(self, app: Any, config: Any, settings: SweepSettings) -> None:
        self._config_loader = app.config_loader
        self._config = config
        self._settings = settings
        self._next_job = 0

    def __call__(self, points: Sequence[Point], folder: Path) -> Generator[PointOutcome, None, None]:
        """Run points, write the results of each to `folder/NUMBER`, and yield their outcomes.

        The points of a lost job run again, each in a separate job, so that only a point that kills its process fails.

        Raises:
            FlowError: the launcher cannot run jobs.
        """
        folder = folder.absolute()
        retries: list[Point] = []
        for share, result in self._launch(self._split(points), folder):
            if isinstance(result, LostJob):
                retries += share
            else:
                yield from collect_outcomes(result, folder)
        for [point], result in self._launch([[point] for point in retries], folder):
            if isinstance(result, LostJob):
                yield PointOutcome(point.number, failure=result.cause)
            else:
                yield from collect_outcomes(result, folder)

    def _split(self, points: Sequence[Point]) -> list[list[Point]]:
        """The points of each job: equal numbers, with points that share stages in the same job."""
        count = min(len(points), JOBS_PER_SLOT * self._slots())
        bounds = [len(points) * n // count for n in range(count + 1)] if count else []
        ordered = [points[position] for position in shared_prefix_order([point.stage_path for point in points])]
        return [ordered[start:end] for start, end in pairwise(bounds)]

    def _slots(self) -> int:
        """The number of jobs that run at once: that of the launcher if known, otherwise the number of CPUs."""
        if self._settings.workers > 1:
            return self._settings.workers
        launcher = self._launcher(None, Path())
        try:
            count = launcher.slots() if hasattr(launcher, "slots") else launcher.joblib["n_jobs"]
        except (AttributeError, KeyError):
            count = -1
        return int(count) if count > 0 else os.cpu_count() or 1

    def _launch(
        self, shares: Sequence[list[Point]], folder: Path
    ) -> list[tuple[list[Point], list[JobOutcome] | LostJob]]:
        """Run a job for each share. Returns the shares with their results."""
        if not shares:
            return []
        first, self._next_job = self._next_job, self._next_job + len(shares)
        within_job = {"timeout": self._settings.timeout, "fail_fast": self._settings.fail_fast}
        with _marker(folder) as marker:
            batch = JobBatch([pack_tasks(share, folder) for share in shares], first, str(folder), marker, within_job)
            results = run_jobs(self._launcher(batch, folder).launch, [[] for _ in shares], first)
        return list(zip(shares, results, strict=True))

    def _launcher(self, task: Any, folder: Path) -> Any:
        """The launcher. It does not log its jobs, which have no overrides, since the task function holds the points."""
        config = deepcopy(self._config)
        with read_write(config), open_dict(config):
            overrides = [f"hydra.sweep.dir={quote(str(folder))}", "hydra.sweep.subdir=jobs/${hydra.job.num}"]
            config.hydra.overrides.hydra.extend(overrides)
            config.hydra.sweep.dir = str(folder)
            config.hydra.hydra_logging = {"version": 1, "root": None, "disable_existing_loggers": False}
        return Plugins.instance().instantiate_launcher(
            hydra_context=HydraContext(config_loader=self._config_loader, callbacks=Callbacks()),
            task_function=task,
            config=config,
        )


def pack_tasks(points: Sequence[Point], folder: Path) -> bytes:
    """The points of a job as compressed JSON."""
    return zlib.compress(json.dumps([point_task(point, folder) for point in points]).encode())


def _unpack(task: Mapping[str, Any]) -> Point:
    """The point of a task; an invalid point if this machine lacks something that it needs."""
    try:
        return task_point(task)
    except ConfigError as error:
        return Point(int(task["number"]), tuple(task["overrides"]), None, error.problems)


def collect_outcomes(results: Sequence[JobOutcome], folder: Path) -> Iterator[PointOutcome]:
    """The outcomes of a job's points. Files from another disk are written to `folder/NUMBER`."""
    for result in results:
        if result.files:
            run_files.copy_run_files(folder / str(result.outcome.number), result.files)
        yield result.outcome


@contextmanager
def _marker(folder: Path) -> Iterator[str]:
    """The name of a file in the folder by which a job recognizes the sender's disk."""
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / f".sender-{uuid4().hex}"
    marker.touch()
    try:
        yield marker.name
    finally:
        marker.unlink(missing_ok=True)


@contextmanager
def _writable_folder(folder: Path, marker: str) -> Iterator[tuple[Path, bool]]:
    """The folder that a job writes to, and whether it is the folder of the sweep."""
    if (folder / marker).is_file():
        yield folder, True
        return
    with TemporaryDirectory() as temporary:
        yield Path(temporary), False


def _read_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} if folder.is_dir() else {}
