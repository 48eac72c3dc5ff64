"""Composes a config as Hydra does, without Hydra's process-wide state: from threads, and inside other Hydra apps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import omegaconf
from omegaconf import DictConfig, OmegaConf

from llmops_flows.core.errors import ConfigError, Problem

from ..files import paths
from ..files.groups import options as options
from ..files.groups import search_path as search_path
from ..files.paths import ROOT
from .interpolation import plainly
from .quoting import is_text

if TYPE_CHECKING:
    from .hydra_loader import HydraConfigLoader
    from .references import References

NO_FLOW = "no flow was chosen"
_OLD = omegaconf.__version__.startswith("2.3.")
"""Before OmegaConf 2.4: there `register_resolver` is the name of something older, and deprecated."""


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
        from .interpolation import plainly

        found = None if self.references.broken else plainly(self.raw)
        return resolve_leniently(self.config) if found is None else (found, [])

    @cached_property
    def files(self) -> list[tuple[Path, str, str]]:
        """The files that it comes from, in order; the package that each one fills; the override that chose it."""

        return list(files(self))

    @cached_property
    def names(self) -> dict[str, str]:
        """Stage to the config key that it is taken from, where the flow takes it by interpolation."""
        stages = self.raw.get("stages")
        taken = {str(n): v for n, v in (stages if isinstance(stages, dict) else {}).items() if isinstance(v, str)}
        return {n: v[2:-1] for n, v in taken.items() if v.startswith("${") and v.endswith("}")}


def register() -> None:
    """Make our resolvers known to OmegaConf; harmless when repeated (workers do not inherit them)."""
    add: Any = getattr(OmegaConf, "register_new_resolver" if _OLD else "register_resolver")
    if not OmegaConf.has_resolver("flow_data"):
        add("flow_data", _flow_data)
    if not OmegaConf.has_resolver("llmops_home"):
        add("llmops_home", lambda: str(paths.home()))


def _flow_data(flow: str, name: str) -> str:
    folder = paths.flow_dir(flow)
    return str((folder or Path("flows") / flow) / name)


def expanded(overrides: Sequence[str]) -> list[str]:
    """The overrides with `glob(…)` written out: Hydra's own looks at the first level of a group only."""
    return [_expanded(o) if "=glob(" in o and not is_text(o) else o for o in overrides]


def _expanded(override: str) -> str:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Glob
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException:
        return override  # told with everything else that is wrong
    group, wanted = parsed.key_or_group, parsed._value
    known = options(group)
    if not isinstance(wanted, Glob):
        return override
    found = wanted.filter(known)
    if not found:
        hint = f"there are {', '.join(known)}"
        raise ConfigError(Problem("nothing matches", key=override, where="command line", hint=hint))
    return f"{group}={','.join(found)}"


def loader() -> HydraConfigLoader:
    """A config loader of our own, which touches no global state (Hydra's internal API: a test guards it)."""
    from . import hydra_loader

    register()
    return hydra_loader.loader(search_path())


def composing(ours: HydraConfigLoader, overrides: Sequence[str]) -> Composed:
    """The config that a loader composes. Raises whatever Hydra, OmegaConf and YAML raise."""
    config, chosen = ours.app(paths.ROOT, overrides)
    choices = {group: option for group, option in chosen.items() if isinstance(option, str)}
    composed = Composed(config, tuple(overrides), choices, ours)
    dangers = composed.references.dangers
    if dangers:
        raise ConfigError(list(dangers.values()))
    return composed


def resolve(config: DictConfig) -> dict[str, Any]:
    """Plain data with interpolations resolved.

    Raises:
        ConfigError: with every interpolation that leads nowhere or in a circle, and every value that is missing.
    """
    found, problems = resolve_leniently(config)
    if problems:
        raise ConfigError(problems)
    return found


def resolve_leniently(config: DictConfig) -> tuple[dict[str, Any], list[Problem]]:
    """What of a config can be resolved, as plain data; and a fault for everything that cannot. `???` stays."""
    from omegaconf.errors import OmegaConfBaseException

    from .references import References

    whole = OmegaConf.to_container(config, resolve=False)
    raw: dict[str, Any] = {str(k): v for k, v in whole.items()} if isinstance(whole, dict) else {}
    problems = {path: _missing(".".join(path)) for path in _unset(raw)}
    broken = References(raw).broken
    for path in broken:
        _drop(raw, path)
    problems |= broken
    if broken:
        config = OmegaConf.create(raw)
    for _ in range(20):
        try:
            found = OmegaConf.to_container(config, resolve=True)
            return {str(k): v for k, v in found.items()} if isinstance(found, dict) else {}, list(problems.values())
        except (OmegaConfBaseException, RecursionError, ValueError) as error:
            key = str(getattr(error, "full_key", "") or "")
            what = f"an interpolation cannot be resolved: {(str(error).splitlines() or [''])[0]}"
            path = tuple(key.replace("[", ".").replace("]", "").split("."))
            if path in problems or not key:
                return {}, [*problems.values(), Problem(what, key=key)]
            problems[path] = Problem(what, key=key)
            _drop(raw, path)
            config = OmegaConf.create(raw)
    return {}, list(problems.values())


def _unset(node: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The places of values that must be given: `???`."""
    if isinstance(node, Mapping):
        return [place for name, inner in node.items() for place in _unset(inner, (*path, str(name)))]
    if isinstance(node, list):
        return [place for number, inner in enumerate(node) for place in _unset(inner, (*path, str(number)))]
    return [path] if node == "???" else []


def _drop(raw: Any, path: tuple[str, ...]) -> None:
    """Take out the value at a path; in a list None stands in its place."""
    for step in path[:-1]:
        raw = raw.get(step) if isinstance(raw, dict) else raw[int(step)] if isinstance(raw, list) else None
    if isinstance(raw, dict) and path:
        raw.pop(path[-1], None)
    elif isinstance(raw, list) and path and path[-1].isdigit() and int(path[-1]) < len(raw):
        raw[int(path[-1])] = None


def _missing(key: str) -> Problem:
    if key == "name":
        return Problem(NO_FLOW, hint=f"add flow=NAME; choose from: {', '.join(options('flow'))}")
    return Problem("this must be given", key=key, hint=f"{key}=VALUE")


def files(composed: Composed) -> Iterator[tuple[Path, str, str]]:
    """The files that were composed, in order; the package that each one fills; the override behind it."""
    from hydra.types import RunMode

    ours = composed.loader or loader()
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


def resolve_plain(raw: Mapping[str, Any], called: dict[str, Any] | None = None) -> dict[str, Any]:
    """A config as plain data, every interpolation replaced by its value, as OmegaConf does it but 10 times faster.

    called: what resolvers gave before, by their text; those of `raw` are added.

    Raises:
        ConfigError: an interpolation leads nowhere or in a circle, or a value is missing.
    """
    found = plainly(raw, called)
    return resolve(OmegaConf.create(dict(raw))) if found is None else found
