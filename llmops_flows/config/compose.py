"""Composes a config as Hydra does, without Hydra's process-wide state: from threads, and inside other Hydra apps."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from llmops_flows.core.errors import ConfigError, Fault

from . import paths

ROOT = "config"
_lock = threading.Lock()


@dataclass(frozen=True)
class Composed:
    """A composed config. `config` is the app's part of it, unresolved; `choices` maps group to chosen option."""

    config: DictConfig
    overrides: tuple[str, ...] = ()
    choices: dict[str, str] = field(default_factory=dict)

    @cached_property
    def plain(self) -> dict[str, Any]:
        """The config as plain data, interpolations resolved. Raises ConfigError where one leads nowhere."""
        return resolve(self.config)

    @cached_property
    def names(self) -> dict[str, str]:
        """Stage to the config key that it is taken from, where the flow takes it by interpolation."""
        raw = OmegaConf.to_container(self.config, resolve=False)
        stages = (raw.get("stages") if isinstance(raw, dict) else None) or {}
        taken = {str(n): str(v) for n, v in stages.items() if isinstance(v, str)}
        return {n: v[2:-1] for n, v in taken.items() if v.startswith("${") and v.endswith("}")}


def register() -> None:
    """Make our resolvers known to OmegaConf; harmless when repeated (workers do not inherit them)."""
    if not OmegaConf.has_resolver("flow_data"):
        OmegaConf.register_new_resolver("flow_data", _flow_data)
    if not OmegaConf.has_resolver("llmops_home"):
        OmegaConf.register_new_resolver("llmops_home", lambda: str(paths.home()))


def _flow_data(flow: str, name: str) -> str:
    folder = paths.flow_dir(flow)
    return str((folder or Path("flows") / flow) / name)


def search_path() -> list[tuple[str, str]]:
    """Where config groups are looked for, first found first taken: project, shipped, plugins."""
    own = [("project", str(p)) for p in paths.project_dirs("conf")[:-1]]
    return [*own, ("llmops_flows", str(paths.data_dir("conf"))), *plugin_paths()]


def plugin_paths() -> list[tuple[str, str]]:
    """The conf folders of installed plugins (entry point group `llmops_flows`), found without importing them."""
    found = []
    for point in sorted(entry_points(group="llmops_flows"), key=lambda p: p.name):
        if point.dist is None:
            continue
        for file in point.dist.files or ():
            if file.parts[-2:-1] and "conf" in file.parts and file.name.endswith(".yaml"):
                folder = Path(str(point.dist.locate_file(Path(*file.parts[: file.parts.index("conf") + 1]))))
                found.append((point.name, f"file://{folder}"))
                break
    return found


def options(group: str) -> list[str]:
    """Every option of a group, those in folders below it too (`rag_support/v1`)."""
    found: set[str] = set()
    for _, folder in search_path():
        place = Path(folder.removeprefix("file://")) / group
        found.update(p.relative_to(place).with_suffix("").as_posix() for p in place.rglob("*.yaml"))
    return sorted(found)


def expanded(overrides: Sequence[str]) -> list[str]:
    """The overrides with `glob(…)` written out: Hydra's own looks at the first level of a group only."""
    return [_expanded(override) if "=glob(" in override else override for override in overrides]


def _expanded(override: str) -> str:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Glob

    parsed = OverridesParser.create().parse_override(override)
    group, wanted = parsed.key_or_group, parsed._value
    known = options(group)
    if not isinstance(wanted, Glob):
        return override
    found = wanted.filter(known)
    if not found:
        mend = f"there are {', '.join(known)}"
        raise ConfigError(Fault("nothing matches", key=override, where="command line", mend=mend))
    return f"{group}={','.join(found)}"


def loader() -> Any:
    """A config loader of our own, which touches no global state (Hydra's internal API: a test guards it)."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
    from hydra.core.plugins import Plugins

    register()
    with _lock:
        Plugins.instance()
    search = ConfigSearchPathImpl()
    search.append("hydra", "pkg://hydra.conf")
    for provider, path in search_path():
        search.append(provider, path if "://" in path else f"file://{path}")
    search.append("schema", "structured://")
    return ConfigLoaderImpl(config_search_path=search)


def compose(overrides: Sequence[str] = ()) -> Composed:
    """The config that these overrides give.

    Raises:
        ConfigError: with every fault of the overrides, not only the first.
    """
    from hydra.errors import HydraException
    from hydra.types import RunMode
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    from .faults import diagnose
    from .text import quoted

    listed = quoted(overrides)
    ours = loader()
    try:
        whole = ours.load_configuration(ROOT, listed, RunMode.RUN, from_shell=False)
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        raise ConfigError(diagnose(ours, listed, error)) from None
    choices = {
        k: v for k, v in whole.hydra.runtime.choices.items() if isinstance(v, str) and not k.startswith("hydra/")
    }
    with_hydra = whole.copy()
    OmegaConf.set_struct(with_hydra, False)
    with_hydra.pop("hydra")
    return Composed(with_hydra, tuple(listed), choices)


def resolve(config: DictConfig) -> dict[str, Any]:
    """Plain data with interpolations resolved. Raises ConfigError where one leads nowhere or in a circle."""
    from omegaconf.errors import OmegaConfBaseException

    try:
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise ConfigError([_missing(str(key)) for key in missing])
        found = OmegaConf.to_container(config, resolve=True)
    except (OmegaConfBaseException, RecursionError) as error:
        key = str(getattr(error, "full_key", "") or "")
        text = str(error).splitlines()[0] if not isinstance(error, RecursionError) else "it refers to itself"
        raise ConfigError(Fault(f"an interpolation cannot be resolved: {text}", key=key)) from None
    return {str(k): v for k, v in found.items()} if isinstance(found, dict) else {}


def _missing(key: str) -> Fault:
    if key == "name":
        flows = {p.stem for folder in paths.project_dirs("conf") for p in (folder / "flow").glob("*.yaml")}
        return Fault("no flow was chosen", mend=f"add flow=NAME; choose from: {', '.join(sorted(flows))}")
    return Fault("this must be given", key=key, mend=f"{key}=VALUE")
