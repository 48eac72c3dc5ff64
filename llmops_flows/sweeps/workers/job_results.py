"""Jobs of Hydra's launchers, and what came of each: one that fails, or whose process dies, stops no other."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from llmops_flows.config import redacted_output
from llmops_flows.core.errors import FlowError

from ..exit_codes import INTERRUPTED
from ..outcome import PointOutcome
from .pool import STOP

if TYPE_CHECKING:
    from ..grid.points import Point

PROCESS = uuid4().hex
"""This process: a task that was sent to another one sees so by it."""
_parent: list[int] = []
"""Who started this process, where it is a launcher's worker."""


def arrive(sender: str) -> None:
    """Called in each job: in another process than the sender's, streams are masked, and it ends with its starter."""
    redacted_output.redact_logs()
    if sender != PROCESS and not _parent:
        redacted_output.redact_streams()
        _parent.append(os.getppid())
        threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose starter was killed would work on, and nobody would take what it does."""
    while os.getppid() in _parent:
        time.sleep(1)
    end()


def end() -> None:
    """Interrupt this process, and end it if it does not end by itself."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(STOP)
    os._exit(INTERRUPTED)


@dataclass(frozen=True)
class LostJob:
    """A job that did not come to its end, and why."""

    why: str


JobOverrides = Sequence[Sequence[str]]
"""The overrides of each job, as Hydra hands them to a launcher."""
LaunchJobs = Callable[[JobOverrides, int], Sequence[Any]]
"""A launcher's `launch`: runs jobs; the second argument is the number of the first one."""


def returned(launch: LaunchJobs, jobs: JobOverrides, first: int) -> list[Any]:
    """What the task returned in each job, or Lost.

    Raises:
        FlowError: the launcher cannot run jobs.
    """
    return [_value(job) for job in _launched(launch, jobs, first)]


def _launched(launch: LaunchJobs, jobs: JobOverrides, first: int) -> list[Any]:
    try:
        return list(launch(jobs, first))
    except BrokenExecutor as error:  # joblib's pool is lost with any of its workers
        if len(jobs) > 1:
            return [_launched(launch, [job], n)[0] for n, job in enumerate(jobs, first)]
        died = re.search(r"\{(.*)\}", str(error))
        return [LostJob(f"its process died{f' of {died[1]}' if died else ''}: out of memory?")]
    except (FlowError, OSError, RuntimeError, ValueError) as error:
        raise FlowError(f"the launcher failed: {type(error).__name__}: {error}") from error


def _value(job: Any) -> Any:
    from hydra.core.utils import JobStatus

    if isinstance(job, LostJob):
        return job
    if job.status == JobStatus.COMPLETED:
        return job.return_value
    return LostJob(f"{type(job._return_value).__name__}: {job._return_value}")


@dataclass
class JobResult:
    """What came of the jobs of a sweeper of Hydra's.

    Attributes:
        cells: the points that it tried. outcomes: what came of each.
        folder: where they went.
    """

    cells: list[Point] = field(default_factory=list)
    outcomes: list[PointOutcome] = field(default_factory=list)
    folder: Path = Path()


@contextmanager
def heard() -> Iterator[JobResult]:
    """Within the block, whatever launcher a sweeper asks for is listened to; the sweeper hears of no failure."""
    from hydra.core.plugins import Plugins

    plugins, found = Plugins.instance(), JobResult()
    make = plugins.instantiate_launcher

    def listening(*arguments: Any, **options: Any) -> Any:
        found.folder = Path(str(options["config"].hydra.sweep.dir))
        return _listening(make(*arguments, **options), found)

    plugins.instantiate_launcher = listening  # type: ignore[method-assign]
    try:
        yield found
    finally:
        del plugins.instantiate_launcher


def _listening(launcher: Any, found: JobResult) -> Any:
    """A launcher whose jobs are listened to. A sweeper would end at the first that failed."""
    from hydra.core.utils import JobReturn, JobStatus

    from llmops_flows.report import run_files

    from ..grid.points import Point

    launch = launcher.launch

    def listened(job_overrides: JobOverrides, initial_job_idx: int) -> list[JobReturn]:
        values = returned(launch, job_overrides, initial_job_idx)
        for number, (overrides, value) in enumerate(zip(job_overrides, values, strict=True), initial_job_idx):
            found.cells.append(Point(number, tuple(overrides), None))
            found.outcomes.append(PointOutcome(number, failure=value.why) if isinstance(value, LostJob) else value)
            place = found.folder / str(number)
            if found.outcomes[-1].failure and place.is_dir():
                run_files.write_failure(place, found.outcomes[-1].failure)
        return [JobReturn(overrides=list(o), status=JobStatus.COMPLETED, _return_value=None) for o in job_overrides]

    launcher.launch = listened
    return launcher
