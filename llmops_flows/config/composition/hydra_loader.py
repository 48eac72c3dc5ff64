"""Hydra's config loader over our folders. It checks what it loads and changes no global state of Hydra."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.defaults_list import create_defaults_list
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from llmops_flows.core.errors import ConfigError, Problem

from ..files import paths, yaml_file
from . import hydra_policy
from .config_source import ConfigFolder

_lock = threading.Lock()


class Repository(ConfigRepository):
    """Reads `prompt: chat/v1` as the option `chat/v1` of the group `prompt`, as the command line does.

    Hydra 1.4 reads it in a defaults list as the option `v1` of a group `prompt/chat`, which nothing can override.
    """

    def _create_defaults_list(self, config_path: str, defaults: Any) -> Any:
        entries: list[Any] = list(super()._create_defaults_list(config_path, defaults))
        for default in entries:
            if getattr(default, "normalized_shorthand", False):
                default.value = f"{default.group.removeprefix(f'{default.original_group}/')}/{default.value}"
                default.group = default.original_group
                default.normalized_shorthand = False
                default.original_group = None
        return entries


class HydraConfigLoader(ConfigLoaderImpl):
    """Composes configs. Every load goes through `_load_configuration_impl`, in both Hydra 1.3 and 1.4.

    Attributes:
        strict: raise ConfigError for problems of files and of `hydra.*`; otherwise only collect them.
        file_problems: problems of the files that the last config was composed from, and of `hydra.*`.
    """

    strict: bool = True
    file_problems: tuple[Problem, ...] = ()

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self.repository = Repository(config_search_path)

    def _load_configuration_impl(self, *args: Any, **options: Any) -> DictConfig:
        overrides = options["overrides"] if "overrides" in options else args[1]
        refused = hydra_problems(overrides, owner=True)
        if refused:
            raise ConfigError(refused)
        for folder in self.folders():
            folder.problems.clear()
        try:
            config = super()._load_configuration_impl(*args, **options)
        except Exception:
            self.file_problems = self._problems()
            if self.strict and self.file_problems:
                raise ConfigError(self.file_problems) from None
            raise
        hydra = OmegaConf.to_container(config.hydra, resolve=False)
        self.file_problems = (*self._problems(), *hydra_policy.config_problems(_with_text_keys(hydra)))
        if self.strict and self.file_problems:
            raise ConfigError(self.file_problems)
        return config

    def compose_app_config(self, name: str, overrides: Sequence[str]) -> tuple[DictConfig, dict[str, Any]]:
        """The config without `hydra`, and config group to chosen option.

        The `hydra` part takes longer to compose than everything else, so it is composed and checked only if it is set.
        """
        composed = None if hydra_named(overrides) else self._compose_without_hydra(name, overrides)
        if composed is None:
            config = self.load_configuration(name, list(overrides), RunMode.RUN, from_shell=False)
            composed = config, {k: v for k, v in config.hydra.runtime.choices.items() if not k.startswith("hydra/")}
        OmegaConf.set_struct(composed[0], False)
        OmegaConf.set_readonly(composed[0], False)
        composed[0].pop("hydra", None)
        return composed

    def _compose_without_hydra(self, name: str, overrides: Sequence[str]) -> tuple[DictConfig, dict[str, Any]] | None:
        """The config if no file and no override sets `hydra.*`; None if one does, or if composing fails."""
        for folder in self.folders():
            folder.problems.clear()
        try:
            parsed, files = self._parse_overrides_and_create_caching_repo(name, list(overrides))
            self.validate_sweep_overrides_legal(parsed, RunMode.RUN, from_shell=False)
            listed = create_defaults_list(files, name, parsed, prepend_hydra=False, skip_missing=False)
            config = self._compose_config_from_defaults_list(listed.defaults, files)
            OmegaConf.set_struct(config, True)
            self._apply_overrides_to_config(listed.config_overrides, config)
        except Exception:  # composing with `hydra` fails too, and reports the error
            return None
        choices = dict(listed.overrides.known_choices)
        shipped = yaml_file.read(paths.data_dir("conf") / f"{paths.ROOT}.yaml").data.get("hydra")
        plain = OmegaConf.to_container(config, resolve=False)
        if self._problems() or hydra_named(choices) or not isinstance(plain, dict) or plain.get("hydra") != shipped:
            return None
        self.file_problems = ()
        return config, choices

    def _process_config_searchpath(self, *args: Any, **options: Any) -> None:
        """Do nothing: Hydra would import what `hydra.searchpath` names (`pkg://`), even for shell completion."""

    def folders(self) -> list[ConfigFolder]:
        """The folders of config groups, in search order."""
        return [source for source in self.repository.get_sources() if isinstance(source, ConfigFolder)]

    def folder_of(self, config_path: str) -> ConfigFolder | None:
        """The folder that has an option, the first in search order."""
        return next((folder for folder in self.folders() if folder.is_config(config_path)), None)

    def _problems(self) -> tuple[Problem, ...]:
        return tuple(
            problem for folder in self.folders() for problems in folder.problems.values() for problem in problems
        )


def _with_text_keys(node: Any) -> dict[str, Any]:
    return {str(key): value for key, value in node.items()} if isinstance(node, dict) else {}


def hydra_named(overrides: Iterable[str]) -> list[str]:
    """The overrides (or groups) whose key contains `hydra`."""
    return [o for o in overrides if "hydra" in o.partition("=")[0]]


def hydra_problems(overrides: Iterable[str], *, owner: bool) -> list[Problem]:
    """Problems of overrides that set `hydra.*`. Overrides that cannot be read are reported elsewhere."""
    suspects = hydra_named(overrides)
    if not suspects:
        return []
    parser = OverridesParser.create()
    parsed = []
    for suspect in suspects:
        try:
            parsed.append(parser.parse_override(suspect))
        except Exception:
            continue
    return hydra_policy.override_problems(parsed, owner=owner)


def loader(search_path: Sequence[tuple[str, Path]]) -> HydraConfigLoader:
    """A loader over these folders (provider and path), then the config of Hydra itself."""
    with _lock:
        Plugins.instance()
        SourcesRegistry.instance().register(ConfigFolder)
    search = ConfigSearchPathImpl()
    search.append("hydra", "pkg://hydra.conf")
    for provider, path in search_path:
        search.append(provider, f"{ConfigFolder.scheme()}://{path}")
    search.append("schema", "structured://")
    return HydraConfigLoader(config_search_path=search)
