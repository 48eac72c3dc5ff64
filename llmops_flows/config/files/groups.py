"""The folders that hold config groups, in the order in which they are looked through, and what lies in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from . import paths
from .plugins import plugins


def search_path() -> list[tuple[str, Path]]:
    """Where config groups are looked for, first found first taken: command line, project, shipped, plugins."""
    own = [("command line", folder) for folder in paths.named_dirs]
    own += [("project", folder) for folder in paths.project_dirs("conf")[:-1]]
    return [*own, ("llmops_flows", paths.data_dir("conf")), *((p.name, p.conf) for p in plugins() if p.conf)]


def options(group: str) -> list[str]:
    """Every option of a group, those in folders below it too (`rag_support/v1`)."""
    found: set[str] = set()
    for _, folder in search_path():
        place = folder / group
        found.update(p.relative_to(place).with_suffix("").as_posix() for p in place.rglob("*.yaml"))
    return sorted(found)


def options_by_group() -> dict[str, list[str]]:
    """Group to its options, of every group that has some, without those of Hydra itself."""
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
    """Options of the project that take the place of shipped ones: name, the project's file, the shipped file."""
    shipped = paths.data_dir("conf")
    for provider, folder in search_path():
        if provider in ("project", "command line"):
            for file in sorted(folder.rglob("*.yaml")):
                name = file.relative_to(folder)
                if (shipped / name).is_file() and (shipped / name).resolve() != file.resolve():
                    yield name.with_suffix("").as_posix(), file, shipped / name
