"""Defaults lists looked through before Hydra does: every entry that names nothing, with its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from llmops_flows.core.errors import Problem
from llmops_flows.text.suggestions import did_you_mean

from ..files.paths import ROOT

if TYPE_CHECKING:
    from .hydra_loader import HydraConfigLoader


def entry_problems(ours: HydraConfigLoader, chosen: Mapping[str, Any]) -> list[Problem]:
    """Faults of the defaults lists of every file that these choices (group to option) reach.

    From then on the loader leaves the faulty entries out, so that the rest of those files can be looked at.
    """
    seen: set[str] = set()
    found = list(_visit(ours, ROOT, dict(chosen), seen))
    for group, values in chosen.items():
        for value in values if isinstance(values, list) else [values]:
            found += _visit(ours, f"{group}/{value}", dict(chosen), seen)
    return list(dict.fromkeys(found))


def _visit(ours: HydraConfigLoader, path: str, chosen: dict[str, Any], seen: set[str]) -> Iterator[Problem]:
    if path in seen:
        return
    seen.add(path)
    holder = ours.holder(path)
    if holder is None:
        return
    page = holder.page(path)
    listed = page.data.get("defaults", []) if isinstance(page.data, Mapping) else []
    for number, item in enumerate(listed if isinstance(listed, list) else ()):
        found = page.node(["defaults", str(number)])
        where = f"{page.name}:{found[1] if found else 1}"
        problems, onward = _looked_at(ours, item, where, path, chosen)
        if problems:
            holder.dropped.setdefault(path, set()).add(number)
        yield from problems
        for further in onward:
            yield from _visit(ours, further, chosen, seen)


def _looked_at(
    ours: HydraConfigLoader, item: Any, where: str, path: str, chosen: Mapping[str, Any]
) -> tuple[list[Problem], list[str]]:
    """The faults of an entry, and the files that it leads to."""
    if isinstance(item, Mapping) and len(item) == 1:
        [(key, value)] = item.items()
        return _group(ours, _Entry(str(key), value, where), path, chosen)
    name = _absolute(item.partition("@")[0], path) if isinstance(item, str) else "_self_"
    if name.rpartition("/")[2] == "_self_" or "${" in name:
        return [], []
    if ours.repository.config_exists(name):
        return [], [name]
    group, _, option = name.rpartition("/")
    return [option_problem(ours, group, option, where=where, also=("_self_",))], []


class _Entry:
    """`- override /prompt@package: rag_support/v2` taken apart."""

    def __init__(self, key: str, value: Any, where: str) -> None:
        *self.words, group = key.split()
        self.group = group.partition("@")[0]
        self.value = value
        self.where = where


def _group(
    ours: HydraConfigLoader, entry: _Entry, path: str, chosen: Mapping[str, Any]
) -> tuple[list[Problem], list[str]]:
    group = _absolute(entry.group, path)
    unknown = [word for word in entry.words if word not in ("override", "optional")]
    if unknown:
        hint = did_you_mean(unknown[0], ("override", "optional"))
        return [Problem(f"{unknown[0]!r} is not a keyword of a defaults list", where=entry.where, hint=hint)], []
    optional = "optional" in entry.words
    if not ours.repository.group_exists(group):
        hint = did_you_mean(group, groups(ours))
        return [] if optional else [Problem(f"unknown group {group!r}", where=entry.where, hint=hint)], []
    own = chosen.get(group, entry.value)  # the command line chooses
    problems, onward = [], []
    for value in own if isinstance(own, list) else [own]:
        if not isinstance(value, str) or "${" in value or value == "???":
            continue
        if ours.repository.config_exists(f"{group}/{value}"):
            onward.append(f"{group}/{value}")
        elif not optional:
            problems.append(option_problem(ours, group, value, where=entry.where))
    return problems, onward


def _absolute(name: str, path: str) -> str:
    return name[1:] if name.startswith("/") else str(PurePosixPath(path).parent / name).removeprefix("./")


def option_problem(
    ours: HydraConfigLoader, group: str, option: str, *, where: str, key: str = "", also: Sequence[str] = ()
) -> Problem:
    """A fault that names the options a group has."""
    for _, place in ((f.provider, f.root / group / f"{option}.yml") for f in ours.folders()):
        if place.is_file():
            return Problem(f"unknown {group} {option!r}", key, where, f"rename {place.name} to {option}.yaml")
    choices = [*options(ours, group), *also] if group else [*also, *groups(ours)]
    what = f"unknown {group} {option!r}" if group else f"unknown entry {option!r}"
    return Problem(what, key=key, where=where, hint=did_you_mean(option, choices))


def options(ours: HydraConfigLoader, group: str) -> list[str]:
    """Every option of a group, those in folders below it too (`rag_support/v1`)."""
    from hydra.core.object_type import ObjectType

    repository = ours.repository
    found = list(repository.get_group_options(group, ObjectType.CONFIG))
    for inner in repository.get_group_options(group, ObjectType.GROUP):
        found += [f"{inner}/{name}" for name in options(ours, f"{group}/{inner}")]
    return found


def groups(ours: HydraConfigLoader) -> list[str]:
    """Every group of options, Hydra's own aside."""
    from hydra.core.object_type import ObjectType

    return [g for g in ours.repository.get_group_options("", ObjectType.GROUP) if g != "hydra"]
