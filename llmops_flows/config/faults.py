"""Everything that is wrong with overrides, told at once: unknown groups, options and keys, with the nearest name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from llmops_flows.core.errors import Fault, did_you_mean

LINE = "command line"


def diagnose(loader: Any, overrides: Sequence[str], error: BaseException) -> list[Fault]:
    """Every fault of the overrides; if none of them is to blame, the error itself as a fault."""
    from hydra.core.object_type import ObjectType

    repository = loader.repository
    faults: list[Fault] = []
    good: list[str] = []
    keys: list[Any] = []
    for text in overrides:
        parsed, fault = _parse(text)
        if fault is not None or parsed is None:
            faults += [fault] if fault else []
            continue
        if repository.group_exists(parsed.key_or_group):
            found = _option_fault(repository, parsed)
            faults += found
            good += [] if found else [text]
        else:
            keys.append(parsed)
    groups = set(repository.get_group_options("", ObjectType.GROUP))
    config, problem = _try(loader, good)
    if config is None and problem is not None and problem is not error and not keys:
        error = problem
    for parsed in keys:
        faults += _key_fault(config, groups, parsed)
    return faults or [_told(error)]


def _parse(text: str) -> tuple[Any, Fault | None]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(text), None
    except HydraException as error:
        reason = str(error).splitlines()[0]
        mend = "quote a value that holds commas, brackets, = or quotes: 'key=\"the text\"'"
        return None, Fault(f"this override cannot be read: {reason}", key=text, where=LINE, mend=mend)


def _option_fault(repository: Any, parsed: Any) -> list[Fault]:
    """A fault for every option of a group override that does not exist."""
    group = parsed.key_or_group
    if parsed.is_sweep_override():
        values = [getattr(v, "text", v) for v in parsed.sweep_iterator()] if parsed.is_discrete_sweep() else []
    else:
        values = parsed.value()
    if not isinstance(values, (str, list)) and not parsed.is_delete():
        known = _options(repository, group)
        off = f"to switch it off: {group}=none; " if "none" in known else ""
        return [Fault(f"{values!r} is no option of {group}", parsed.input_line, LINE, off + did_you_mean("", known))]
    return [
        Fault(
            f"there is no {group} {name!r}", f"{group}={name}", LINE, did_you_mean(name, _options(repository, group))
        )
        for name in (values if isinstance(values, list) else [values])
        if isinstance(name, str) and not repository.config_exists(f"{group}/{name}")
    ]


def _options(repository: Any, group: str) -> list[str]:
    from hydra.core.object_type import ObjectType

    found = list(repository.get_group_options(group, ObjectType.CONFIG))
    for inner in repository.get_group_options(group, ObjectType.GROUP):
        found += [f"{inner}/{name}" for name in repository.get_group_options(f"{group}/{inner}", ObjectType.CONFIG)]
    return found


def _try(loader: Any, overrides: Sequence[str]) -> tuple[DictConfig | None, BaseException | None]:
    """The config of the good overrides alone."""
    from hydra.errors import HydraException
    from hydra.types import RunMode
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        return loader.load_configuration("config", list(overrides), RunMode.RUN, from_shell=False), None
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        return None, error


def _key_fault(config: DictConfig | None, groups: Iterable[str], parsed: Any) -> list[Fault]:
    """A fault if the key of an override names nothing."""
    key = parsed.key_or_group
    if config is None or key.startswith("hydra"):
        return []
    node: Any = config
    for depth, name in enumerate(key.split(".")):
        known = names(node)
        if name not in known:
            if parsed.is_add() and depth > 0:
                return []
            below = key.split(".")[:depth]
            choices = [n for n in known if n != "hydra"] + ([] if depth else [g for g in groups if g != "hydra"])
            place = f"in {'.'.join(below)!r}" if below else "at the top of the config"
            mend = did_you_mean(name, dict.fromkeys(choices))
            return [Fault(f"there is no key {name!r} {place}", key=key, where=LINE, mend=mend)]
        node = _inner(node, name)
    return []


def names(node: Any) -> list[str]:
    """The keys of a config node."""
    if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
        return [str(key) for key in node]
    if isinstance(node, ListConfig):
        return [str(n) for n in range(len(node))]
    return []


def _inner(node: Any, name: str) -> Any:
    from omegaconf.errors import OmegaConfBaseException

    try:
        return OmegaConf.select(node, name)
    except OmegaConfBaseException:
        return None


def _told(error: BaseException) -> Fault:
    """An error of Hydra, OmegaConf or YAML as one fault, without its advice to add dead keys."""
    mark = getattr(error, "problem_mark", None)
    where = f"{mark.name}:{mark.line + 1}" if mark is not None else ""
    cause = error.__cause__ if error.__cause__ is not None and not str(error).strip() else error
    lines = [
        line for line in str(cause).splitlines() if line.strip() and "use +" not in line and "set_struct" not in line
    ]
    return Fault(" ".join(line.strip() for line in lines[:3]) or type(error).__name__, where=where)
