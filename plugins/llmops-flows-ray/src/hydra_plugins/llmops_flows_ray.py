"""Register `hydra/launcher=ray`. Hydra imports this module at every start, so its imports are light.

Hydra runs it without adding it to `sys.modules`, so the annotations of the dataclass must not be strings.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class RayConf:
    """The settings of `hydra.launcher`.

    Attributes:
        address: the address of a running cluster; None starts one on this machine.
        num_cpus, num_gpus, memory, resources: what a job needs; memory in bytes.
        retries: how often Ray retries a job whose worker died.
        collect: when a worker sends the files of a job back: `auto` (from other machines), `always`, `never`.
        init: further arguments of `ray.init`.
    """

    _target_: str = "hydra_plugins.llmops_flows_ray.RayLauncher"
    address: str | None = None
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    memory: int | None = None
    resources: dict[str, float] = field(default_factory=dict)
    retries: int = 2
    collect: str = "auto"
    init: dict[str, Any] = field(default_factory=dict)


ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayConf, provider="llmops_flows_ray")


class RayLauncher(Launcher):
    """Runs the jobs of a sweep as Ray tasks."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.hydra_context: HydraContext | None = None
        self.task_function: TaskFunction | None = None
        self.config: DictConfig | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def slots(self) -> int:
        """How many jobs run at once."""
        from llmops_flows_ray.launch import slots

        return slots(self.settings)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """One result per job, in order. A job that failed has the status FAILED and its error."""
        from llmops_flows_ray.launch import launch

        assert self.hydra_context is not None and self.task_function is not None and self.config is not None
        hydra = (self.hydra_context, self.task_function, self.config)
        return launch(self.settings, hydra, job_overrides, initial_job_idx)
