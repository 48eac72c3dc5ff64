"""Run jobs with a Hydra launcher and return the result of each, or the reason why a job was lost."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from typing import Any

from hydra.core.utils import JobStatus

from llmops_flows.core.errors import FlowError

JobOverrides = Sequence[Sequence[str]]
"""The overrides of each job, as Hydra passes them to a launcher."""
Launch = Callable[[JobOverrides, int], Sequence[Any]]
"""A launcher's `launch`: runs jobs; the second argument is the number of the first one."""


@dataclass(frozen=True)
class LostJob:
    """A job that returned no result, and the cause."""

    cause: str


def run_jobs(launch: Launch, jobs: JobOverrides, first: int) -> list[Any]:
    """The return value of the task function in each job, or a LostJob.

    Raises:
        FlowError: the launcher cannot run jobs.
    """
    return [_result(job) for job in _launch(launch, jobs, first)]


def _launch(launch: Launch, jobs: JobOverrides, first: int) -> list[Any]:
    try:
        return list(launch(jobs, first))
    except BrokenExecutor as error:  # joblib loses its pool when a process dies: run the jobs one by one
        if len(jobs) > 1:
            return [_launch(launch, [job], number)[0] for number, job in enumerate(jobs, first)]
        signals = re.search(r"\{(.*)\}", str(error))
        return [LostJob(f"its process died{f' of {signals[1]}' if signals else ''}: out of memory?")]
    except (FlowError, OSError, RuntimeError, ValueError) as error:
        raise FlowError(f"the launcher failed: {type(error).__name__}: {error}") from error


def _result(job: Any) -> Any:
    if isinstance(job, LostJob):
        return job
    if job.status == JobStatus.COMPLETED:
        return job.return_value
    return LostJob(f"{type(job._return_value).__name__}: {job._return_value}")
