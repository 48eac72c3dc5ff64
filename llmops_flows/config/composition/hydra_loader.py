"""Hydra's config loader over our folders, with what it may load checked; touches no global state of Hydra's."""

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
    """Takes `prompt: chat/v1` as the option `chat/v1` of the group `prompt`, as every command line does.

    Hydra 1.4 takes it in a defaults list as the option `v1` of a group `prompt/chat`, which nothing can override.
    """

    def _create_defaults_list(self, config_path: str, defaults: Any) -> Any:
        found = super()._create_defaults_list(config_path, defaults)
        entries: list[Any] = list(found)
        for default in entries:
            if getattr(default, "normalized_shorthand", False):
                default.value = f"{default.group.removeprefix(f'{default.original_group}/')}/{default.value}"
                default.group = default.original_group
                default.normalized_shorthand = False
                default.original_group = None
        return entries


class HydraConfigLoader(ConfigLoaderImpl):
    """Composes configs. Every way to a config goes through `_load_configuration_impl`, in Hydra 1.3 and 1.4 alike.

    Attributes:
        strict: raise when a file has faults or Hydra's own config is not as it may be; else they are only kept.
        found: faults of the files that the last composing read.
    """

    strict: bool = True
    found: tuple[Problem, ...] = ()

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self.repository = Repository(config_search_path)

    def _load_configuration_impl(self, *args: Any, **options: Any) -> DictConfig:
        overrides = options["overrides"] if "overrides" in options else args[1]
        reaching = hydra_problems(overrides, owner=True)
        if reaching:
            raise ConfigError(reaching)
        for folder in self.folders():
            folder.problems.clear()
        try:
            config = super()._load_configuration_impl(*args, **options)
        except Exception:
            self.found = self._problems()
            if self.strict and self.found:
                raise ConfigError(self.found) from None
            raise
        hydra = OmegaConf.to_container(config.hydra, resolve=False)
        self.found = (*self._problems(), *hydra_policy.config_problems(_texts(hydra)))
        if self.strict and self.found:
            raise ConfigError(self.found)
        return config

    def app(self, name: str, overrides: Sequence[str]) -> tuple[DictConfig, dict[str, Any]]:
        """The config without Hydra's own part, and group to chosen option.

        Hydra's part costs more than all the rest, so it is composed (and checked) only where somebody sets it.
        """
        found = None if hydra_named(overrides) else self._lean(name, overrides)
        if found is None:
            whole = self.load_configuration(name, list(overrides), RunMode.RUN, from_shell=False)
            found = whole, {k: v for k, v in whole.hydra.runtime.choices.items() if not k.startswith("hydra/")}
        OmegaConf.set_struct(found[0], False)
        OmegaConf.set_readonly(found[0], False)
        found[0].pop("hydra", None)
        return found

    def _lean(self, name: str, overrides: Sequence[str]) -> tuple[DictConfig, dict[str, Any]] | None:
        """What `load_configuration` gives, Hydra's part as our files leave it; None where it must be looked at."""
        for folder in self.folders():
            folder.problems.clear()
        try:
            parsed, files = self._parse_overrides_and_create_caching_repo(name, list(overrides))
            self.validate_sweep_overrides_legal(parsed, RunMode.RUN, from_shell=False)
            listed = create_defaults_list(files, name, parsed, prepend_hydra=False, skip_missing=False)
            config = self._compose_config_from_defaults_list(listed.defaults, files)
            OmegaConf.set_struct(config, True)
            self._apply_overrides_to_config(listed.config_overrides, config)
        except Exception:  # whatever it is, composing the whole meets it again, and tells it
            return None
        choices = dict(listed.overrides.known_choices)
        shipped = yaml_file.read(paths.data_dir("conf") / f"{paths.ROOT}.yaml").data.get("hydra")
        ours = OmegaConf.to_container(config, resolve=False)
        if self._problems() or hydra_named(choices) or not isinstance(ours, dict) or ours.get("hydra") != shipped:
            return None
        self.found = ()
        return config, choices

    def _process_config_searchpath(self, *args: Any, **options: Any) -> None:
        """Nothing: Hydra would import what `hydra.searchpath` names (`pkg://`), for a completed line too."""

    def folders(self) -> list[ConfigFolder]:
        """The folders of options, first found first taken."""
        return [source for source in self.repository.get_sources() if isinstance(source, ConfigFolder)]

    def holder(self, config_path: str) -> ConfigFolder | None:
        """The folder that an option is taken from."""
        return next((folder for folder in self.folders() if folder.is_config(config_path)), None)

    def _problems(self) -> tuple[Problem, ...]:
        return tuple(problem for folder in self.folders() for found in folder.problems.values() for problem in found)


def _texts(node: Any) -> dict[str, Any]:
    return {str(key): value for key, value in node.items()} if isinstance(node, dict) else {}


def hydra_named(overrides: Iterable[str]) -> list[str]:
    """Those of the overrides (or of the groups) whose key names Hydra."""
    return [o for o in overrides if "hydra" in o.partition("=")[0]]


def hydra_problems(overrides: Iterable[str], *, owner: bool) -> list[Problem]:
    """Faults of overrides that reach into Hydra's own config. An override that cannot be read is told elsewhere."""
    suspects = hydra_named(overrides)
    if not suspects:
        return []
    parser = OverridesParser.create()
    parsed = []
    for suspect in suspects:
        try:
            parsed.append(parser.parse_override(suspect))
        except Exception:  # told by whoever composes: here only what can be read can do anything
            continue
    return hydra_policy.override_problems(parsed, owner=owner)


def loader(search_path: Sequence[tuple[str, Path]]) -> HydraConfigLoader:
    """A loader over these folders (provider and place), then Hydra's own config."""
    with _lock:
        Plugins.instance()
        SourcesRegistry.instance().register(ConfigFolder)
    search = ConfigSearchPathImpl()
    search.append("hydra", "pkg://hydra.conf")
    for provider, place in search_path:
        search.append(provider, f"{ConfigFolder.scheme()}://{place}")
    search.append("schema", "structured://")
    return HydraConfigLoader(config_search_path=search)
