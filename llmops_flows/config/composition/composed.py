"""Composes a config as Hydra does, without Hydra's process-wide state: from threads, and inside other Hydra apps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from llmops_flows.core.errors import ConfigError, Problem

from ..files import paths
from ..files.groups import search_path
from ..files.paths import ROOT
from .interpolation import resolve, resolve_leniently, resolve_quickly
from .resolvers import register_resolvers

if TYPE_CHECKING:
    from .hydra_loader import HydraConfigLoader
    from .references import References


@dataclass(frozen=True)
class Composed:
    """A composed config. `config` is the app's part of it, unresolved; `choices` maps group to chosen option.

    `loader` is what composed it, and knows the files that it comes from.
    """

    config: DictConfig
    overrides: tuple[str, ...] = ()
    choices: dict[str, str] = field(default_factory=dict)
    loader: HydraConfigLoader | None = field(default=None, compare=False, repr=False)

    @cached_property
    def raw(self) -> dict[str, Any]:
        """The config as plain data, interpolations as they are written."""
        found = OmegaConf.to_container(self.config, resolve=False)
        return {str(k): v for k, v in found.items()} if isinstance(found, dict) else {}

    @cached_property
    def references(self) -> References:
        """Its interpolations, and what is wrong with them."""
        from .references import References

        return References(self.raw)

    @cached_property
    def plain(self) -> dict[str, Any]:
        """The config as plain data, interpolations resolved. Raises ConfigError where one leads nowhere."""
        return resolve(self.config)

    @cached_property
    def loose(self) -> tuple[dict[str, Any], list[Problem]]:
        """What of the config can be resolved, and a fault for everything else."""

        found = None if self.references.broken else resolve_quickly(self.raw)
        return resolve_leniently(self.config) if found is None else (found, [])

    @cached_property
    def files(self) -> list[tuple[Path, str, str]]:
        """The files that it comes from, in order; the package that each one fills; the override that chose it."""

        return list(files(self))

    @cached_property
    def stage_keys(self) -> dict[str, str]:
        """Stage to the config key that it is taken from, where the flow takes it by interpolation."""
        stages = self.raw.get("stages")
        taken = {str(n): v for n, v in (stages if isinstance(stages, dict) else {}).items() if isinstance(v, str)}
        return {n: v[2:-1] for n, v in taken.items() if v.startswith("${") and v.endswith("}")}


def config_loader() -> HydraConfigLoader:
    """A config loader of our own, which touches no global state (Hydra's internal API: a test guards it)."""
    from . import hydra_loader

    register_resolvers()
    return hydra_loader.loader(search_path())


def compose_with(ours: HydraConfigLoader, overrides: Sequence[str]) -> Composed:
    """The config that a loader composes. Raises whatever Hydra, OmegaConf and YAML raise."""
    config, chosen = ours.app(paths.ROOT, overrides)
    choices = {group: option for group, option in chosen.items() if isinstance(option, str)}
    composed = Composed(config, tuple(overrides), choices, ours)
    dangers = composed.references.dangers
    if dangers:
        raise ConfigError(list(dangers.values()))
    return composed


def files(composed: Composed) -> Iterator[tuple[Path, str, str]]:
    """The files that were composed, in order; the package that each one fills; the override behind it."""
    from hydra.types import RunMode

    ours = composed.loader or config_loader()
    listed = ours.compute_defaults_list(ROOT, list(composed.overrides), RunMode.RUN)
    for default in listed.defaults:
        path = default.config_path or ""
        holder = ours.holder(path)
        if holder is not None:
            file = holder.file(path)
            if file is not None:
                yield file, default.package or "", _chosen(path, composed.overrides)


def _chosen(path: str, overrides: Sequence[str]) -> str:
    group = path.rpartition("/")[0]
    for override in overrides:
        name, _, value = override.lstrip("+").partition("=")
        base = name.partition("@")[0]
        if base and (f"{base}/{value}" == path or (group.startswith(base) and f"{base}/{value}" == path)):
            return override
    return ""
