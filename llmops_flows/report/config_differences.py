"""The config keys in which runs differ: each key once, chosen options by their names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .saved_runs import SavedRun

TARGET = "_target_"


class _Absent:
    """The value of a key that a config does not have."""

    def __repr__(self) -> str:
        return "—"


ABSENT = _Absent()


@dataclass(frozen=True)
class DifferingKey:
    """A config key in which runs differ, with the value of each run (`ABSENT` where its config lacks the key)."""

    key: str
    values: tuple[Any, ...]

    def text(self, run: int) -> str:
        """The value of a run, given by its position, as one line."""
        return one_line(self.values[run])


def differing_keys(runs: Sequence[SavedRun]) -> list[DifferingKey]:
    """The keys that differ, each once.

    A group with different chosen options is one key (`retriever`: bm25, hybrid). Keys that follow from the option
    alone are left out, and so are copies of another key (`splitter.size` in `retriever.splitter.size`, `retriever.k`
    in `stages.retrieve.k`).
    """
    if len(runs) < 2:
        return []
    keys = [axis for axis in differing_leaves([run.config for run in runs]) if not _copied(axis.key, runs)]
    groups = _chosen(runs)
    for axis in sorted(keys, key=_depth):
        if axis.key.endswith(f".{TARGET}") and not _within(groups, axis):
            groups.append(_class_names(axis))
    own = [axis for axis in keys if not axis.key.endswith(TARGET) and not _within(groups, axis)]
    ordered = sorted([*groups, *own], key=_depth)
    unique = [axis for n, axis in enumerate(ordered) if not any(_repeats(axis, higher) for higher in ordered[:n])]
    return sorted(unique, key=lambda axis: axis.key.partition(".")[0])


def differing_leaves(configs: Sequence[Mapping[str, Any]]) -> list[DifferingKey]:
    """Every leaf in which the configs differ, in the order of first occurrence."""
    flat = [dict(leaves(config)) for config in configs]
    keys = dict.fromkeys(key for values in flat for key in values)
    differing = [DifferingKey(key, tuple(values.get(key, ABSENT) for values in flat)) for key in keys]
    return [axis for axis in differing if any(not _same(axis.values[0], value) for value in axis.values[1:])]


def leaves(config: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Path and value of every leaf. A list of plain values is one leaf; elements of other lists have their index."""
    if isinstance(config, Mapping) and config:
        for key, value in config.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(config, (list, tuple)) and any(isinstance(value, (Mapping, list, tuple)) for value in config):
        for number, value in enumerate(config):
            yield from leaves(value, f"{path}.{number}")
    elif path:
        yield path, config


def one_line(value: Any) -> str:
    """A config value as one line without control characters."""
    if value is ABSENT:
        return repr(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return "".join(char if char.isprintable() else " " for char in " ".join(text.split()))


def _same(first: Any, second: Any) -> bool:
    return type(first) is type(second) and bool(first == second)


def _chosen(runs: Sequence[SavedRun]) -> list[DifferingKey]:
    """The groups with different chosen options."""
    groups = dict.fromkeys(group for run in runs for group in run.choices)
    keys = [
        DifferingKey(group.replace("/", "."), tuple(run.choices.get(group, ABSENT) for run in runs)) for group in groups
    ]
    keys = [DifferingKey(axis.key, _without_folder(axis.values)) for axis in keys if len(set(axis.values)) > 1]
    return [axis for axis in keys if axis.key != "flow"]


def _without_folder(options: Sequence[Any]) -> tuple[Any, ...]:
    """The options without their common folder."""
    folders = {str(option).rpartition("/")[0] for option in options if option is not ABSENT}
    if len(folders) != 1 or folders == {""}:
        return tuple(options)
    return tuple(option if option is ABSENT else str(option).rpartition("/")[2] for option in options)


def _depth(axis: DifferingKey) -> int:
    return axis.key.count(".")


def _within(groups: Sequence[DifferingKey], axis: DifferingKey) -> bool:
    """Whether a key belongs to one of the groups, and the chosen option determines its value."""
    return any(axis.key.startswith(f"{group.key}.") and _determines(group, axis) for group in groups)


def _determines(group: DifferingKey, axis: DifferingKey) -> bool:
    value_of: dict[Any, Any] = {}
    pairs = zip(group.values, axis.values, strict=True)
    return all(_same(value_of.setdefault(choice, value), value) for choice, value in pairs)


def _copied(stage_key: str, runs: Sequence[SavedRun]) -> bool:
    """Whether a key belongs to a stage that every run copies from another section of its config."""
    top, _, rest = stage_key.partition(".")
    if top != "stages":
        return False
    name = rest.partition(".")[0]
    stages = [(run.config.get(top) or {}).get(name) for run in runs]
    sections = [dict(_sections(run.config)) for run in runs]
    return any(
        all(key in section and section[key] == stage for section, stage in zip(sections, stages, strict=True))
        for key in sections[0]
    )


def _sections(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The config sections that a stage may be copied from: `retriever`, `guardrail.output` …"""
    for key, value in config.items():
        if key != "stages" and isinstance(value, Mapping):
            yield key, value
            yield from ((f"{key}.{name}", section) for name, section in value.items())


def _class_names(axis: DifferingKey) -> DifferingKey:
    """A `_target_` key with the key of its component and the names of the classes."""
    names = [_snake(str(v).rpartition(".")[2]) if v is not ABSENT else v for v in axis.values]
    return DifferingKey(axis.key.removesuffix(f".{TARGET}"), tuple(names))


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _repeats(axis: DifferingKey, other: DifferingKey) -> bool:
    """Whether a key is a copy of `other`, which is higher in the config."""
    if not all(_same(value, higher) for value, higher in zip(axis.values, other.values, strict=True)):
        return False
    return axis.key == other.key or axis.key.endswith(f".{other.key}")
