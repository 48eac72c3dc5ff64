"""Run one job of the sweep in a Ray worker, and make its result picklable."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, open_dict

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn

MAX_BYTES = 64_000_000
"""Total size of the files that one job sends back from another machine."""


@dataclass(frozen=True)
class RayJob:
    """A job.

    Attributes:
        overrides: the overrides of the job.
        config: its config.
        collect: when to send its files back: auto, always or never.
        sender: the host name of the machine that submitted it.
    """

    number: int
    overrides: tuple[str, ...]
    config: DictConfig
    collect: str
    sender: str


@dataclass(frozen=True)
class RayResult:
    """The result of a job.

    Attributes:
        job_return: Hydra's result.
        folder: the output folder of the job.
        files: the files in it that are sent back, by relative path.
        skipped: the paths of files that are too large to be sent back.
    """

    job_return: JobReturn
    folder: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    skipped: Sequence[str] = ()


def run(shared: Any, job: RayJob) -> RayResult:
    """Run the job as Hydra does. Errors are part of the result."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.singleton import Singleton
    from hydra.core.utils import run_job, setup_globals

    context, task, state = shared
    setup_globals()
    Singleton.set_state(state)
    cwd = str(job.config.hydra.runtime.cwd)
    if os.path.isdir(cwd):  # a worker starts in the folder of its cluster
        os.chdir(cwd)
        if cwd not in sys.path:
            sys.path.insert(0, cwd)
    HydraConfig.instance().set_config(job.config)
    with open_dict(job.config):
        job_return = run_job(
            hydra_context=context,
            config=job.config,
            task_function=task,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
            configure_logging=True,
        )
    _make_picklable(job_return)
    assert job_return.hydra_cfg is not None
    folder = Path(str(job_return.hydra_cfg.hydra.runtime.output_dir))
    if job.collect == "never" or (job.collect == "auto" and os.uname().nodename == job.sender):
        return RayResult(job_return, str(folder))
    return RayResult(job_return, str(folder), *read_files(folder))


def _make_picklable(job_return: JobReturn) -> None:
    """Replace a value or error that cannot be unpickled, since the result would be lost with it."""
    value = job_return._return_value
    try:
        pickle.loads(pickle.dumps(value))
    except Exception:
        if isinstance(value, BaseException):
            formatted = "".join(traceback.format_exception(value)).strip()
            job_return._return_value = RuntimeError(f"{type(value).__name__}: {value}\n{formatted}")
        else:
            job_return._return_value = repr(value)


def read_files(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    """The files below a folder by relative path, and the paths of those that exceed MAX_BYTES. Ignores links."""
    files: dict[str, bytes] = {}
    skipped = []
    remaining = MAX_BYTES
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
        name = path.relative_to(folder).as_posix()
        if path.stat().st_size > remaining:
            skipped.append(name)
            continue
        files[name] = path.read_bytes()
        remaining -= len(files[name])
    return files, skipped
