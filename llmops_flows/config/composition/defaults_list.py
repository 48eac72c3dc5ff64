"""Checks defaults lists before Hydra reads them: every entry with an unknown name, with its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from llmops_flows.core.errors import Problem
from llmops_flows.text.suggestions import did_you_mean

from ..files.paths import ROOT

if TYPE_CHECKING:
    from .hydra_loader import HydraConfigLoader


def entry_problems(loader: HydraConfigLoader, chosen: Mapping[str, Any]) -> list[Problem]:
    """Problems in the defaults lists of every file that these choices (group to option) lead to.

    The loader then leaves out the entries with problems, so that the rest of those files is still checked.
    """
    seen: set[str] = set()
    problems = list(_visit(loader, ROOT, dict(chosen), seen))
    for group, values in chosen.items():
        for value in values if isinstance(values, list) else [values]:
            problems += _visit(loader, f"{group}/{value}", dict(chosen), seen)
    return list(dict.fromkeys(problems))


def _visit(loader: HydraConfigLoader, path: str, chosen: dict[str, Any], seen: set[str]) -> Iterator[Problem]:
    if path in seen:
        return
    seen.add(path)
    folder = loader.folder_of(path)
    if folder is None:
        return
    document = folder.document(path)
    listed = document.data.get("defaults", []) if isinstance(document.data, Mapping) else []
    for number, item in enumerate(listed if isinstance(listed, list) else ()):
        node = document.node(["defaults", str(number)])
        where = f"{document.name}:{node[1] if node else 1}"
        problems, files = _check_entry(loader, item, where, path, chosen)
        if problems:
            folder.dropped.setdefault(path, set()).add(number)
        yield from problems
        for file in files:
            yield from _visit(loader, file, chosen, seen)


def _check_entry(
    loader: HydraConfigLoader, item: Any, where: str, path: str, chosen: Mapping[str, Any]
) -> tuple[list[Problem], list[str]]:
    """The problems of an entry, and the files that it leads to."""
    if isinstance(item, Mapping) and len(item) == 1:
        [(key, value)] = item.items()
        return _check_group(loader, _Entry(str(key), value, where), path, chosen)
    name = _absolute(item.partition("@")[0], path) if isinstance(item, str) else "_self_"
    if name.rpartition("/")[2] == "_self_" or "${" in name:
        return [], []
    if loader.repository.config_exists(name):
        return [], [name]
    group, _, option = name.rpartition("/")
    return [option_problem(loader, group, option, where=where, also=("_self_",))], []


class _Entry:
    """The parts of `- override /prompt@package: rag_support/v2`."""

    def __init__(self, key: str, value: Any, where: str) -> None:
        *self.words, group = key.split()
        self.group = group.partition("@")[0]
        self.value = value
        self.where = where


def _check_group(
    loader: HydraConfigLoader, entry: _Entry, path: str, chosen: Mapping[str, Any]
) -> tuple[list[Problem], list[str]]:
    group = _absolute(entry.group, path)
    unknown = [word for word in entry.words if word not in ("override", "optional")]
    if unknown:
        hint = did_you_mean(unknown[0], ("override", "optional"))
        return [Problem(f"{unknown[0]!r} is not a keyword of a defaults list", where=entry.where, hint=hint)], []
    optional = "optional" in entry.words
    if not loader.repository.group_exists(group):
        hint = did_you_mean(group, groups(loader))
        return [] if optional else [Problem(f"unknown group {group!r}", where=entry.where, hint=hint)], []
    values = chosen.get(group, entry.value)  # the command line wins
    problems, files = [], []
    for value in values if isinstance(values, list) else [values]:
        if not isinstance(value, str) or "${" in value or value == "???":
            continue
        if loader.repository.config_exists(f"{group}/{value}"):
            files.append(f"{group}/{value}")
        elif not optional:
            problems.append(option_problem(loader, group, value, where=entry.where))
    return problems, files


def _absolute(name: str, path: str) -> str:
    return name[1:] if name.startswith("/") else str(PurePosixPath(path).parent / name).removeprefix("./")


def option_problem(
    loader: HydraConfigLoader, group: str, option: str, *, where: str, key: str = "", also: Sequence[str] = ()
) -> Problem:
    """The problem of an unknown option, with the options of its group."""
    for path in (folder.root / group / f"{option}.yml" for folder in loader.folders()):
        if path.is_file():
            return Problem(f"unknown {group} {option!r}", key, where, f"rename {path.name} to {option}.yaml")
    choices = [*options(loader, group), *also] if group else [*also, *groups(loader)]
    what = f"unknown {group} {option!r}" if group else f"unknown entry {option!r}"
    return Problem(what, key=key, where=where, hint=did_you_mean(option, choices))


def options(loader: HydraConfigLoader, group: str) -> list[str]:
    """Every option of a group, those in subfolders included (`rag_support/v1`)."""
    from hydra.core.object_type import ObjectType

    repository = loader.repository
    names = list(repository.get_group_options(group, ObjectType.CONFIG))
    for inner in repository.get_group_options(group, ObjectType.GROUP):
        names += [f"{inner}/{name}" for name in options(loader, f"{group}/{inner}")]
    return names


def groups(loader: HydraConfigLoader) -> list[str]:
    """Every config group, without those of Hydra itself."""
    from hydra.core.object_type import ObjectType

    return [g for g in loader.repository.get_group_options("", ObjectType.GROUP) if g != "hydra"]
