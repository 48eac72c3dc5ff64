"""What runs in a worker: one job of the sweep, its result made sure to travel."""

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

LARGEST = 64_000_000
"""Bytes of files that are brought back from another machine, for one job."""


@dataclass(frozen=True)
class StageCall:
    """One point: its config, and from which machine it was sent."""

    number: int
    overrides: tuple[str, ...]
    config: DictConfig
    collect: str
    sender: str


@dataclass(frozen=True)
class Result:
    """What came of a job: Hydra's result, and the files of its folder where they are to be brought back."""

    returned: JobReturn
    folder: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    left_out: Sequence[str] = ()


def run(shared: Any, job: StageCall) -> Result:
    """Run the job as Hydra does. Errors come back within the result."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.singleton import Singleton
    from hydra.core.utils import run_job, setup_globals

    context, task, state = shared
    setup_globals()
    Singleton.set_state(state)
    home = str(job.config.hydra.runtime.cwd)
    if os.path.isdir(home):  # a worker starts where its cluster was started
        os.chdir(home)
        if home not in sys.path:
            sys.path.insert(0, home)
    HydraConfig.instance().set_config(job.config)
    with open_dict(job.config):
        returned = run_job(
            hydra_context=context,
            config=job.config,
            task_function=task,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
            configure_logging=True,
        )
    _make_portable(returned)
    assert returned.hydra_cfg is not None
    folder = Path(str(returned.hydra_cfg.hydra.runtime.output_dir))
    if job.collect == "never" or (job.collect == "auto" and os.uname().nodename == job.sender):
        return Result(returned, str(folder))
    return Result(returned, str(folder), *files(folder))


def _make_portable(returned: JobReturn) -> None:
    """An error or value that cannot be rebuilt elsewhere would take the whole result with it."""
    value = returned._return_value
    try:
        pickle.loads(pickle.dumps(value))
    except Exception:
        if isinstance(value, BaseException):
            told = "".join(traceback.format_exception(value)).strip()
            returned._return_value = RuntimeError(f"{type(value).__name__}: {value}\n{told}")
        else:
            returned._return_value = repr(value)


def files(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    """The files below a folder, and the names of those that are too large to travel. Links stay where they are."""
    found: dict[str, bytes] = {}
    left_out = []
    room = LARGEST
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()):
        name = path.relative_to(folder).as_posix()
        if path.stat().st_size > room:
            left_out.append(name)
            continue
        found[name] = path.read_bytes()
        room -= len(found[name])
    return found, left_out
