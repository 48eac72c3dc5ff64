"""Submits jobs to Ray, and takes back what came of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from .job import Job, Result, run

log = logging.getLogger(__name__)
COLLECT = ("auto", "always", "never")
STOP = 1.0
"""Seconds that jobs have to put things in order when they are called off."""
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "120",  # a busy machine needs longer than Ray's 30 s
}


def launch(
    settings: Mapping[str, Any],
    about: tuple[HydraContext, TaskFunction, DictConfig],
    job_overrides: Sequence[Sequence[str]],
    first: int,
) -> list[JobReturn]:
    """Run every job as a Ray task. A job that fails, or whose worker dies for good, does not stop the others."""
    if settings["collect"] not in COLLECT:
        raise ValueError(f"hydra.launcher.collect={settings['collect']!r}: choose from {', '.join(COLLECT)}")
    context, task, config = about
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    Path(str(config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
    ray = _started(settings)
    remote = ray.remote(run).options(**_needs(settings))
    shared = ray.put((context, task, Singleton.get_state()))
    jobs, futures = [], []
    try:
        for number, overrides in enumerate(job_overrides, first):
            log.info("\t#%s : %s", number, " ".join(filter_overrides(overrides)))
            jobs.append(_job(context, config, overrides, number, settings["collect"]))
            futures.append(remote.remote(shared, jobs[-1]))
        return [_returned(ray, job, future) for job, future in zip(jobs, futures, strict=True)]
    except BaseException:
        _call_off(ray, futures)
        raise


def slots(settings: Mapping[str, Any]) -> int:
    """How many jobs the cluster, as it is now, runs at once."""
    has = _started(settings).cluster_resources()
    names = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
    needs = {names[name]: settings[name] or 0 for name in names} | dict(settings["resources"])
    return max(1, int(min([has.get(name, 0) // need for name, need in needs.items() if need] or [has.get("CPU", 1)])))


def _started(settings: Mapping[str, Any]) -> Any:
    """Ray, connected to the cluster of the settings; one that was started here ends with this process."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    if not ray.is_initialized():
        given = dict(settings["init"])
        if settings["address"] is None:
            given = {"include_dashboard": False, "_node_ip_address": "127.0.0.1", **given}
        else:
            given = {"address": settings["address"], **given}
        ray.init(logging_level=logging.ERROR, **given)
    return ray


def _needs(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What one point needs, in the words of Ray's tasks. Only a worker's death is tried again, never an error."""
    known = {name: settings[name] for name in ("num_cpus", "num_gpus", "memory") if settings[name] is not None}
    return {
        **known,
        "resources": dict(settings["resources"]) or None,
        "max_retries": settings["retries"],
        "retry_exceptions": False,
    }


def _job(context: HydraContext, config: DictConfig, overrides: Sequence[str], number: int, collect: str) -> Job:
    composed = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(composed):
        composed.hydra.job.id = f"job_{number}"
        composed.hydra.job.num = number
        composed.hydra.launcher = OmegaConf.create({})  # the worker needs nothing of it
    return Job(number, tuple(overrides), composed, collect, os.uname().nodename)


def _call_off(ray: Any, futures: Sequence[Any]) -> None:
    """Interrupt the jobs, so that they keep what they have finished; end those that do not stop."""
    for future in futures:
        ray.cancel(future)
    if futures:
        ray.wait(list(futures), num_returns=len(futures), timeout=STOP)
    for future in futures:
        ray.cancel(future, force=True)


def _returned(ray: Any, job: Job, future: Any) -> JobReturn:
    """What came of a job. The files that it left on another machine are written here."""
    try:
        result: Result = ray.get(future)
    except (ray.exceptions.RayError, OSError) as error:
        died = JobReturn(overrides=list(job.overrides), cfg=job.config, hydra_cfg=job.config)
        died.status = JobStatus.FAILED
        died.return_value = RuntimeError(f"its worker died: {(str(error).splitlines() or [''])[0]}")
        return died
    for name, data in result.files.items():
        place = Path(result.folder) / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    if result.left_out:
        log.warning("#%s: left on the worker, too large: %s", job.number, ", ".join(result.left_out))
    returned: JobReturn = result.returned
    return returned
