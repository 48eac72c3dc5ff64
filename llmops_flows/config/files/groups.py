"""Config groups: the folders that contain them, in search order, and their options."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from . import paths
from .plugins import plugins


def search_path() -> list[tuple[str, Path]]:
    """The folders of config groups in search order: command line, project, this package, plugins."""
    folders = [("command line", folder) for folder in paths.command_line_dirs]
    folders += [("project", folder) for folder in paths.project_dirs("conf")[:-1]]
    return [*folders, ("llmops_flows", paths.data_dir("conf")), *((p.name, p.conf) for p in plugins() if p.conf)]


def options(group: str) -> list[str]:
    """Every option of a group, those in subfolders included (`rag_support/v1`)."""
    names: set[str] = set()
    for _, folder in search_path():
        group_folder = folder / group
        names.update(p.relative_to(group_folder).with_suffix("").as_posix() for p in group_folder.rglob("*.yaml"))
    return sorted(names)


def options_by_group() -> dict[str, list[str]]:
    """Config group to its options, without empty groups and those of Hydra itself."""
    result: dict[str, set[str]] = {}
    for _, folder in search_path():
        for path in folder.rglob("*.yaml"):
            group, *parts = path.relative_to(folder).with_suffix("").parts
            if parts and group != "hydra" and group.isidentifier():
                result.setdefault(group, set()).add("/".join(parts))
    return {group: sorted(result[group]) for group in sorted(result)}


def groups() -> list[str]:
    """Every group that has options, without those of Hydra itself."""
    return list(options_by_group())


def is_group(name: str) -> bool:
    """Whether a folder of this name holds options, other than those of Hydra itself."""
    if name == "hydra" or not name.isidentifier():
        return False
    return any((folder / name).is_dir() for _, folder in search_path())


def shadowed_options() -> Iterator[tuple[str, Path, Path]]:
    """Options of the project that replace shipped ones: name, file of the project, shipped file."""
    shipped = paths.data_dir("conf")
    for provider, folder in search_path():
        if provider in ("project", "command line"):
            for file in sorted(folder.rglob("*.yaml")):
                name = file.relative_to(folder)
                if (shipped / name).is_file() and (shipped / name).resolve() != file.resolve():
                    yield name.with_suffix("").as_posix(), file, shipped / name
