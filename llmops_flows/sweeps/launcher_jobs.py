"""The points of a sweep where a launcher of Hydra's puts them: several to a job, which runs them side by side."""

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
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from llmops_flows.config.composition.quoting import quote
from llmops_flows.core.errors import ConfigError
from llmops_flows.report import run_files

from .grid.settings import SweepSettings
from .outcome import PointOutcome
from .workers.job_results import PROCESS, LostJob, arrive, returned

if TYPE_CHECKING:
    from .grid.points import Point

JOBS = 4
"""How many jobs there are for each that can run at once: fewer share more, more leave nobody idle at the end."""
_held: list[Point] = []
"""The points of the last job: while they live, the models that they loaded stay for the next one."""


@dataclass(frozen=True)
class JobsFinished:
    """What came of a point. `files`: what it left, by name, where the sweep's own folder could not be written."""

    outcome: PointOutcome
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class JobBatch:
    """What the jobs of one launch do: Hydra calls it in each of them.

    Attributes:
        jobs: for each job the tasks of its points, packed: what all points have in common weighs nothing.
        first: the number of the first job.
        folder: the sweep's. mark: a file in it that is there only where the disk is the sender's.
        rules: what of the sweep's rules holds within a job.
        process: the sender.
    """

    jobs: Sequence[bytes]
    first: int
    folder: str
    mark: str
    rules: Mapping[str, Any]
    process: str = PROCESS

    def __call__(self, _: Any) -> list[JobsFinished]:
        """Run the points of this job."""
        from hydra.core.hydra_config import HydraConfig

        arrive(self.process)
        return self.run(int(HydraConfig.get().job.num))

    def run(self, job: int) -> list[JobsFinished]:
        """Run the points of a job in this process."""
        from .sweep import execute

        cells = [_cell(task) for task in json.loads(zlib.decompress(self.jobs[job - self.first]))]
        with _place(Path(self.folder), self.mark) as (folder, shared):
            outcomes = list(execute(cells, folder, SweepSettings(**self.rules)))
            done = [JobsFinished(one, {} if shared else _files(folder / str(one.number))) for one in outcomes]
        _held[:] = cells
        return done


class Jobs:
    """Runs cells as jobs of the launcher that a config names.

    Args:
        app: Hydra's application. config: of the sweep as a whole, Hydra's part included.
        rules: how the sweep is run.
    """

    def __init__(self, app: Any, config: Any, rules: SweepSettings) -> None:
        self._loader = app.config_loader
        self._config = config
        self._rules = rules
        self._first = 0

    def __call__(self, cells: Sequence[Point], folder: Path) -> Generator[PointOutcome, None, None]:
        """Run cells, and leave the results of each in `folder/NUMBER`. What came of each is told.

        Points of a job that was lost run once more, each in a job of its own: so that one that takes its process
        with it takes no other.

        Raises:
            FlowError: the launcher cannot run anything.
        """
        folder = folder.absolute()
        lost: list[Point] = []
        for share, came in self._launch(self._shares(cells), folder):
            if isinstance(came, LostJob):
                lost += share
            else:
                yield from brought(came, folder)
        for [cell], came in self._launch([[cell] for cell in lost], folder):
            yield from (
                [PointOutcome(cell.number, failure=came.why)] if isinstance(came, LostJob) else brought(came, folder)
            )

    def _shares(self, cells: Sequence[Point]) -> list[list[Point]]:
        """The cells as jobs: those that begin alike side by side, about as many in each."""
        from .sweep import path
        from .workers.assignment import alike_together

        jobs = min(len(cells), JOBS * self._slots())
        bounds = [len(cells) * n // jobs for n in range(jobs + 1)] if jobs else []
        ordered = [cells[n] for n in alike_together([path(cell) for cell in cells])]
        return [ordered[a:b] for a, b in pairwise(bounds)]

    def _slots(self) -> int:
        """How many jobs run at once, as far as the launcher says."""
        if self._rules.workers > 1:
            return self._rules.workers
        launcher = self._launcher(None, Path())
        try:
            count = launcher.slots() if hasattr(launcher, "slots") else launcher.joblib["n_jobs"]
        except (AttributeError, KeyError):
            count = -1
        return int(count) if count > 0 else os.cpu_count() or 1

    def _launch(
        self, shares: Sequence[list[Point]], folder: Path
    ) -> list[tuple[list[Point], list[JobsFinished] | LostJob]]:
        """Each share, and what came of it."""
        if not shares:
            return []
        first, self._first = self._first, self._first + len(shares)
        with _marked(folder) as mark:
            task = JobBatch([packed(share, folder) for share in shares], first, str(folder), mark, self._within)
            came = returned(self._launcher(task, folder).launch, [[] for _ in shares], first)
        return list(zip(shares, came, strict=True))

    @property
    def _within(self) -> dict[str, Any]:
        """The rules that hold within a job."""
        return {"timeout": self._rules.timeout, "fail_fast": self._rules.fail_fast}

    def _launcher(self, task: Any, folder: Path) -> Any:
        """The launcher, told not to list the jobs: they have no overrides, for what they do is in the task."""
        from hydra._internal.callbacks import Callbacks
        from hydra.core.plugins import Plugins
        from hydra.types import HydraContext
        from omegaconf import open_dict, read_write

        config = deepcopy(self._config)
        with read_write(config), open_dict(config):
            place = [f"hydra.sweep.dir={quote(str(folder))}", "hydra.sweep.subdir=jobs/${hydra.job.num}"]
            config.hydra.overrides.hydra.extend(place)
            config.hydra.sweep.dir = str(folder)
            config.hydra.hydra_logging = {"version": 1, "root": None, "disable_existing_loggers": False}
        return Plugins.instance().instantiate_launcher(
            hydra_context=HydraContext(config_loader=self._loader, callbacks=Callbacks()),
            task_function=task,
            config=config,
        )


def packed(cells: Sequence[Point], folder: Path) -> bytes:
    """The tasks of a job, small."""
    from .workers.worker import task

    return zlib.compress(json.dumps([task(cell, folder) for cell in cells]).encode())


def _cell(task: Mapping[str, Any]) -> Point:
    """The cell of a task; a wrong one where this machine lacks what it needs."""
    from .grid.points import Point
    from .workers.worker import cell

    try:
        return cell(task)
    except ConfigError as error:
        return Point(int(task["number"]), tuple(task["overrides"]), None, error.problems)


def brought(done: Sequence[JobsFinished], folder: Path) -> Iterator[PointOutcome]:
    """What came of points. Files from another disk are written here."""
    for one in done:
        if one.files:
            run_files.copy_run_files(folder / str(one.outcome.number), one.files)
        yield one.outcome


@contextmanager
def _marked(folder: Path) -> Iterator[str]:
    """The name of a file in the folder, by which a job sees whether it writes to the same disk."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / f".sender-{uuid4().hex}"
    mark.touch()
    try:
        yield mark.name
    finally:
        mark.unlink(missing_ok=True)


@contextmanager
def _place(folder: Path, mark: str) -> Iterator[tuple[Path, bool]]:
    """Where a job writes, and whether that is where the sender looks."""
    if (folder / mark).is_file():
        yield folder, True
        return
    with TemporaryDirectory() as own:
        yield Path(own), False


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} if folder.is_dir() else {}
