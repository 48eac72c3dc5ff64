"""Submit jobs to Ray and collect their results."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from .job import RayJob, RayResult, run

log = logging.getLogger(__name__)
COLLECT = ("auto", "always", "never")
START_ATTEMPTS = 4
"""Maximum number of attempts to start Ray. On a busy machine, a node may take longer than the 30 s that Ray waits."""


def launch(
    settings: Mapping[str, Any],
    hydra: tuple[HydraContext, TaskFunction, DictConfig],
    job_overrides: Sequence[Sequence[str]],
    first: int,
) -> list[JobReturn]:
    """Run each job as a Ray task. A job that fails, or whose worker keeps dying, does not stop the others.

    Args:
        settings: the fields of `RayConf`.
        hydra: what Hydra passes to `setup` of a launcher.
        first: the number of the first job.
    """
    if settings["collect"] not in COLLECT:
        raise ValueError(f"hydra.launcher.collect must be one of {', '.join(COLLECT)}, got {settings['collect']!r}")
    context, task, config = hydra
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    Path(str(config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
    ray = start_ray(settings)
    _check_resources(ray, settings)
    remote = ray.remote(run).options(**_task_options(settings))
    shared = ray.put((context, task, Singleton.get_state()))
    jobs, futures = [], []
    configs: dict[tuple[str, ...], DictConfig] = {}
    try:
        for number, overrides in enumerate(map(tuple, job_overrides), first):
            log.info("\t#%s : %s", number, " ".join(filter_overrides(overrides)))
            if overrides not in configs:
                configs[overrides] = context.config_loader.load_sweep_config(config, list(overrides))
            jobs.append(_job(deepcopy(configs[overrides]), overrides, number, settings["collect"]))
            futures.append(remote.remote(shared, jobs[-1]))
        return [_collect(ray, job, future) for job, future in zip(jobs, futures, strict=True)]
    except BaseException:
        for future in futures:
            ray.cancel(future, force=True)  # without force, it waits until the job stops blocking
        raise


def slots(settings: Mapping[str, Any]) -> int:
    """How many jobs the cluster runs at once."""
    available = start_ray(settings).cluster_resources()
    counts = (available.get(name, 0) // amount for name, amount in _resources_per_job(settings).items())
    return max(1, int(min(counts, default=1)))


def start_ray(settings: Mapping[str, Any]) -> Any:
    """Ray, connected to the cluster of the settings. A cluster that is started here ends with this process."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if settings["address"] is None:
        options = {"include_dashboard": False, "_node_ip_address": "127.0.0.1", **settings["init"]}
    else:
        options = {"address": settings["address"], **settings["init"]}
    for attempt in range(1, START_ATTEMPTS + 1):
        if ray.is_initialized():
            break
        try:
            ray.init(**{"logging_level": logging.ERROR, **options})
        except Exception as error:
            if attempt == START_ATTEMPTS or "timed out during startup" not in str(error):
                raise
            log.warning("Ray did not start within 30 s, trying again")
            ray.shutdown()
    return ray


def _check_resources(ray: Any, settings: Mapping[str, Any]) -> None:
    """Raise ValueError for resources that the cluster does not have, since Ray waits for them forever."""
    available = ray.cluster_resources()
    for name, amount in _resources_per_job(settings).items():
        if amount > available.get(name, 0):
            total = f"{available.get(name, 0):g}"
            raise ValueError(f"a job needs {amount:g} {name}, but the cluster has {total}: change hydra.launcher.*")


def _resources_per_job(settings: Mapping[str, Any]) -> dict[str, float]:
    """The resources of a job under the names of Ray's clusters."""
    named = {"CPU": settings["num_cpus"], "GPU": settings["num_gpus"], "memory": settings["memory"]}
    return {name: amount for name, amount in {**named, **settings["resources"]}.items() if amount}


def _task_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a job's Ray task. Ray retries a task whose worker died, never one that raised an error."""
    resources = {name: settings[name] for name in ("num_cpus", "num_gpus", "memory") if settings[name] is not None}
    return {
        **resources,
        "resources": dict(settings["resources"]) or None,
        "max_retries": settings["retries"],
        "retry_exceptions": False,
    }


def _job(config: DictConfig, overrides: tuple[str, ...], number: int, collect: str) -> RayJob:
    with open_dict(config):
        config.hydra.job.id = f"job_{number}"
        config.hydra.job.num = number
        config.hydra.launcher = OmegaConf.create({})  # a worker does not need it
    return RayJob(number, overrides, config, collect, os.uname().nodename)


def _collect(ray: Any, job: RayJob, future: Any) -> JobReturn:
    """The result of a job. The files that it sends back from another machine are written here."""
    try:
        result: RayResult = ray.get(future)
    except (ray.exceptions.RayError, OSError) as error:
        job_return = JobReturn(overrides=list(job.overrides), cfg=job.config, hydra_cfg=job.config)
        job_return.status = JobStatus.FAILED
        job_return.return_value = RuntimeError(f"its worker died: {(str(error).splitlines() or [''])[0]}")
        return job_return
    for name, data in result.files.items():
        path = Path(result.folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    if result.skipped:
        log.warning("#%s: too large to send back from the worker: %s", job.number, ", ".join(result.skipped))
    return result.job_return
