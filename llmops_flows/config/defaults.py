"""Defaults lists looked through before Hydra does: every entry that names nothing, with its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from llmops_flows.core.errors import Fault, did_you_mean

from .paths import ROOT
from .yamlfile import Page

if TYPE_CHECKING:
    from .loading import Loader


def entry_faults(ours: Loader, chosen: Mapping[str, Any]) -> list[Fault]:
    """Faults of the defaults lists of every file that these choices (group to option) reach."""
    seen: set[str] = set()
    found = list(_visit(ours, ROOT, dict(chosen), seen))
    for group, values in chosen.items():
        for value in values if isinstance(values, list) else [values]:
            found += _visit(ours, f"{group}/{value}", dict(chosen), seen)
    return list(dict.fromkeys(found))


def _visit(ours: Loader, path: str, chosen: dict[str, Any], seen: set[str]) -> Iterator[Fault]:
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
        if isinstance(item, Mapping) and len(item) == 1:
            [(key, value)] = item.items()
            yield from _group(ours, _Entry(str(key), value, where, page), path, chosen, seen)
        elif isinstance(item, str) and item.partition("@")[0] != "_self_":
            name = _absolute(item.partition("@")[0], path)
            if "${" not in name and not ours.repository.config_exists(name):
                yield _unknown(ours, name, where, also=("_self_",))
            else:
                yield from _visit(ours, name, chosen, seen)


class _Entry:
    """`- override /prompt@package: rag_support/v2` taken apart."""

    def __init__(self, key: str, value: Any, where: str, page: Page) -> None:
        *self.words, group = key.split()
        self.group = group.partition("@")[0]
        self.value = value
        self.where = where


def _group(ours: Loader, entry: _Entry, path: str, chosen: dict[str, Any], seen: set[str]) -> Iterator[Fault]:
    group = _absolute(entry.group, path)
    unknown = [word for word in entry.words if word not in ("override", "optional")]
    if unknown:
        mend = did_you_mean(unknown[0], ("override", "optional"))
        yield Fault(f"{unknown[0]!r} means nothing before a group", where=entry.where, mend=mend)
    elif not ours.repository.group_exists(group):
        if "optional" not in entry.words:
            yield Fault(f"there is no group {group!r}", where=entry.where, mend=did_you_mean(group, groups(ours)))
        return
    own = entry.value if not (group in chosen and not entry.words) else chosen[group]  # the command line chooses
    values = own if isinstance(own, list) else [own]
    for value in values:
        if not isinstance(value, str) or "${" in value or value == "???":
            continue
        if not ours.repository.config_exists(f"{group}/{value}"):
            if "optional" not in entry.words:
                yield option_fault(ours, group, value, where=entry.where)
        else:
            yield from _visit(ours, f"{group}/{value}", chosen, seen)


def _absolute(name: str, path: str) -> str:
    return name[1:] if name.startswith("/") else str(PurePosixPath(path).parent / name).removeprefix("./")


def _unknown(ours: Loader, name: str, where: str, also: Sequence[str]) -> Fault:
    group, _, option = name.rpartition("/")
    found = option_fault(ours, group, option, where=where, also=also)
    return found


def option_fault(
    ours: Loader, group: str, option: str, *, where: str, key: str = "", also: Sequence[str] = ()
) -> Fault:
    """A fault that names the options a group has."""
    for _, place in ((f.provider, f.root / group / f"{option}.yml") for f in ours.folders()):
        if place.is_file():
            return Fault(f"there is no {group} {option!r}", key, where, f"rename {place.name} to {option}.yaml")
    choices = [*options(ours, group), *also] if group else [*also, *groups(ours)]
    what = f"there is no {group} {option!r}" if group else f"there is no {option!r}"
    return Fault(what, key=key, where=where, mend=did_you_mean(option, choices))


def options(ours: Loader, group: str) -> list[str]:
    """Every option of a group, those in folders below it too (`rag_support/v1`)."""
    from hydra.core.object_type import ObjectType

    repository = ours.repository
    found = list(repository.get_group_options(group, ObjectType.CONFIG))
    for inner in repository.get_group_options(group, ObjectType.GROUP):
        found += [f"{inner}/{name}" for name in options(ours, f"{group}/{inner}")]
    return found


def groups(ours: Loader) -> list[str]:
    """Every group of options, Hydra's own aside."""
    from hydra.core.object_type import ObjectType

    return [g for g in ours.repository.get_group_options("", ObjectType.GROUP) if g != "hydra"]
