"""Composes a config as Hydra does, without its global state: in threads, and inside other Hydra apps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from llmops_flows.core.errors import ConfigError, Problem

from ..files import paths
from ..files.groups import search_path
from ..files.paths import ROOT
from .interpolation import resolve, resolve_leniently, resolve_quickly, to_plain
from .resolvers import register_resolvers

if TYPE_CHECKING:
    from .hydra_loader import HydraConfigLoader
    from .references import References


@dataclass(frozen=True)
class Composed:
    """A composed config.

    Attributes:
        config: the unresolved config, without `hydra`.
        choices: config group to the option chosen from it.
        loader: the loader that composed it.
    """

    config: DictConfig
    overrides: tuple[str, ...] = ()
    choices: dict[str, str] = field(default_factory=dict)
    loader: HydraConfigLoader | None = field(default=None, compare=False, repr=False)

    @cached_property
    def raw(self) -> dict[str, Any]:
        """The config as plain data, interpolations as written."""
        return to_plain(self.config, resolve=False)

    @cached_property
    def references(self) -> References:
        """The interpolations of the config, and their problems."""
        from .references import References

        return References(self.raw)

    @cached_property
    def plain(self) -> dict[str, Any]:
        """The config as plain data, interpolations resolved. Raises ConfigError if one cannot be resolved."""
        return resolve(self.config)

    @cached_property
    def resolvable(self) -> tuple[dict[str, Any], list[Problem]]:
        """What can be resolved of the config, and a problem for everything else."""
        resolved = None if self.references.broken else resolve_quickly(self.raw)
        return resolve_leniently(self.config) if resolved is None else (resolved, [])

    @cached_property
    def files(self) -> list[tuple[Path, str, str]]:
        """The composed files in order, each with the package that it fills and the override that chose it."""
        from hydra.types import RunMode

        loader = self.loader or config_loader()
        files = []
        for default in loader.compute_defaults_list(ROOT, list(self.overrides), RunMode.RUN).defaults:
            path = default.config_path or ""
            folder = loader.folder_of(path)
            file = folder.file(path) if folder is not None else None
            if file is not None:
                files.append((file, default.package or "", _choosing_override(path, self.overrides)))
        return files

    @cached_property
    def stage_keys(self) -> dict[str, str]:
        """Stage name to config key, for stages that the flow defines by interpolation."""
        stages = self.raw.get("stages")
        texts = {str(n): v for n, v in (stages if isinstance(stages, dict) else {}).items() if isinstance(v, str)}
        return {name: v[2:-1] for name, v in texts.items() if v.startswith("${") and v.endswith("}")}


def config_loader() -> HydraConfigLoader:
    """A loader over the folders of config groups."""
    from . import hydra_loader

    register_resolvers()
    return hydra_loader.loader(search_path())


def compose_with(loader: HydraConfigLoader, overrides: Sequence[str]) -> Composed:
    """Compose a config with a loader. Raises what Hydra, OmegaConf and YAML raise."""
    config, chosen = loader.compose_app_config(paths.ROOT, overrides)
    choices = {group: option for group, option in chosen.items() if isinstance(option, str)}
    composed = Composed(config, tuple(overrides), choices, loader)
    dangers = composed.references.dangers
    if dangers:
        raise ConfigError(list(dangers.values()))
    return composed


def _choosing_override(path: str, overrides: Sequence[str]) -> str:
    """The override that chose the option at a path (`retriever/bm25`); "" if none did."""
    for override in overrides:
        name, _, value = override.lstrip("+").partition("=")
        if f"{name.partition('@')[0]}/{value}" == path:
            return override
    return ""
