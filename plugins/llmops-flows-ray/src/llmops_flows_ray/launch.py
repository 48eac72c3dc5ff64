"""Submits jobs to Ray, and takes back what came of them."""

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

from .job import Result, StageCall, run

log = logging.getLogger(__name__)
COLLECT = ("auto", "always", "never")
TRIES = 4
"""How often a start is tried: on a busy machine a node may need longer than the 30 s that Ray gives it."""


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
    ray = started(settings)
    _check(ray, settings)
    remote = ray.remote(run).options(**_needs(settings))
    shared = ray.put((context, task, Singleton.get_state()))
    jobs, futures = [], []
    composed: dict[tuple[str, ...], DictConfig] = {}
    try:
        for number, overrides in enumerate(job_overrides, first):
            log.info("\t#%s : %s", number, " ".join(filter_overrides(overrides)))
            key = tuple(overrides)
            if key not in composed:
                composed[key] = context.config_loader.load_sweep_config(config, list(overrides))
            jobs.append(_job(deepcopy(composed[key]), key, number, settings["collect"]))
            futures.append(remote.remote(shared, jobs[-1]))
        return [_returned(ray, job, future) for job, future in zip(jobs, futures, strict=True)]
    except BaseException:
        for future in futures:
            ray.cancel(future, force=True)  # gentler, it waits for whatever blocks the job
        raise


def slots(settings: Mapping[str, Any]) -> int:
    """How many jobs the cluster, as it is now, runs at once."""
    has = started(settings).cluster_resources()
    return max(1, int(min((has.get(name, 0) // need for name, need in _per_job(settings).items()), default=1)))


def _check(ray: Any, settings: Mapping[str, Any]) -> None:
    """Ray would wait for ever for what a cluster does not have. Raises ValueError."""
    has = ray.cluster_resources()
    for name, need in _per_job(settings).items():
        if need > has.get(name, 0):
            raise ValueError(f"a job needs {need:g} {name}; the cluster has {has.get(name, 0):g}: hydra.launcher.*")


def _per_job(settings: Mapping[str, Any]) -> dict[str, float]:
    """What a job needs, in the words of Ray's clusters."""
    named = {"CPU": settings["num_cpus"], "GPU": settings["num_gpus"], "memory": settings["memory"]}
    return {name: need for name, need in {**named, **settings["resources"]}.items() if need}


def started(settings: Mapping[str, Any]) -> Any:
    """Ray, connected to the cluster of the settings; one that was started here ends with this process."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if settings["address"] is None:
        given = {"include_dashboard": False, "_node_ip_address": "127.0.0.1", **settings["init"]}
    else:
        given = {"address": settings["address"], **settings["init"]}
    for last in (n == TRIES for n in range(1, TRIES + 1)):
        if ray.is_initialized():
            break
        try:
            ray.init(**{"logging_level": logging.ERROR, **given})
        except Exception as error:
            if last or "timed out during startup" not in str(error):
                raise
            log.warning("Ray did not start within 30 s; once more")
            ray.shutdown()
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


def _job(config: DictConfig, overrides: tuple[str, ...], number: int, collect: str) -> StageCall:
    with open_dict(config):
        config.hydra.job.id = f"job_{number}"
        config.hydra.job.num = number
        config.hydra.launcher = OmegaConf.create({})  # the worker needs nothing of it
    return StageCall(number, overrides, config, collect, os.uname().nodename)


def _returned(ray: Any, job: StageCall, future: Any) -> JobReturn:
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
