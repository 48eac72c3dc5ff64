"""Compose the configs of a sweep's points.

Composing with Hydra is slow, so each value of an axis is composed once, instead of each combination of values. The
changes of a value are then applied to the configs of all points that have this value.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, product
from math import prod
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from llmops_flows.config.compose import compose
from llmops_flows.config.composition.composed import Composed
from llmops_flows.config.composition.interpolation import resolve_plain
from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.core.stage import Part

from .axes import COMMAND_LINE, Grid

MAX_POINTS = 50_000
_PROBES = 3
"""Number of points that are also composed in full, to check the assembled configs."""

Path = tuple[str, ...]
Changes = dict[Path, Any]
"""Path of a leaf below `config` or `choices` to its new value, or DELETED."""


class _Deleted:
    def __repr__(self) -> str:
        return "DELETED"


DELETED = _Deleted()


class Tree(NamedTuple):
    """A composed config, interpolations unresolved, and the chosen option of each group."""

    config: dict[str, Any]
    choices: dict[str, str]


@dataclass(frozen=True)
class Memo:
    """Values that points share: text of a resolver to its value, and config to component."""

    resolver_values: dict[str, Any] = field(default_factory=dict)
    components: dict[str, Part] = field(default_factory=dict)


@dataclass(frozen=True)
class PointConfig:
    """The config of one point. A `Point` is built from it.

    Attributes:
        overrides: the overrides that distinguish it from the other points.
        raw: its config, interpolations unresolved.
        choices: group to chosen option.
        memo: shared by the points of a sweep.
    """

    overrides: tuple[str, ...]
    raw: Mapping[str, Any]
    choices: Mapping[str, str]
    memo: Memo = field(default_factory=Memo, compare=False, repr=False)

    @property
    def plain(self) -> dict[str, Any]:
        """The resolved config as plain data. Raises ConfigError if an interpolation cannot be resolved."""
        return resolve_plain(self.raw, self.memo.resolver_values)

    @property
    def stage_keys(self) -> dict[str, str]:
        """Stage to the config key that it interpolates."""
        stages = (self.raw.get("stages") or {}).items()
        texts = {str(name): value for name, value in stages if isinstance(value, str)}
        return {name: text[2:-1] for name, text in texts.items() if text.startswith("${") and text.endswith("}")}

    def value(self, key: str) -> Any:
        """The option of a group, or the value of a config key. Raises LookupError."""
        if key in self.choices:
            return self.choices[key]
        node: Any = self.raw
        try:
            for step in key.split("."):
                node = node[step]
        except (KeyError, TypeError):
            raise LookupError(key) from None
        return node


def compose_points(grid: Grid) -> list[PointConfig]:
    """The config of every point of the grid, the last axis varying fastest.

    An option is composed with the first and with the last values of the other axes, to find its changes; a plain value
    changes only its leaf. If axes change each other's keys, every point is composed in full.

    Raises:
        ConfigError: with every problem of the overrides, or if there are more than MAX_POINTS points.
    """
    count = prod(map(len, grid.axes))
    if count > MAX_POINTS:
        hint = f"at most {MAX_POINTS:,}: give fewer values, zip axes (sweep.zip), or search with hydra/sweeper=optuna"
        raise ConfigError(Problem(f"this sweep has {count:,} points", "-m", COMMAND_LINE, hint))
    if grid.axes and count > _compositions(grid):
        points = _assemble(grid)
        if points is not None:
            return points
    memo = Memo()
    return [_compose_in_full(grid.fixed, overrides, memo) for overrides in grid.combinations]


class Composer:
    """Composes the points of a search, one by one.

    Each combination of options is composed once, and plain values are applied to it. The first assembled point of a
    combination is also composed in full, to check that both are equal.
    """

    def __init__(self, fixed: Sequence[str]) -> None:
        self._fixed = tuple(fixed)
        self._groups: set[str] = set()
        self._trees: dict[tuple[str, ...], Tree] = {}
        self._checked: dict[tuple[str, ...], bool] = {}
        self._memo = Memo()

    def compose(self, overrides: Sequence[str]) -> PointConfig:
        """The config of the point that these overrides distinguish. Raises ConfigError."""
        options, changes = self._split(overrides)
        tree = self._trees.get(options)
        if tree is None or not _has_leaves(tree, changes) or not self._checked.get(options, True):
            point = _compose_in_full(self._fixed, overrides, self._memo)
            self._groups |= point.choices.keys()
            options, _ = self._split(overrides)  # now that all groups are known
            self._trees.setdefault(options, Tree(dict(point.raw), dict(point.choices)))
            return point
        config, choices = _apply(tree, changes)
        point = PointConfig(tuple(overrides), config, choices, self._memo)
        if options not in self._checked:
            complete = _compose_in_full(self._fixed, overrides, self._memo)
            self._checked[options] = point == complete
            return complete
        return point

    def _split(self, overrides: Sequence[str]) -> tuple[tuple[str, ...], Changes]:
        """The overrides that must be composed, and the leaves that the others set."""
        options, changes = [], Changes()
        for override in overrides:
            leaves = _plain_changes([override])
            if leaves is None or any("/".join(path[1:]) in self._groups for path in leaves):
                options.append(override)
            else:
                changes.update(leaves)
        return tuple(options), changes


def _compose(fixed: Sequence[str], overrides: Sequence[str]) -> Tree:
    composed: Composed = compose([*fixed, *overrides], typed=False)
    config = OmegaConf.to_container(composed.config, resolve=False)
    assert isinstance(config, dict)
    return Tree({str(key): value for key, value in config.items()}, dict(composed.choices))


def _compose_in_full(fixed: Sequence[str], overrides: Sequence[str], memo: Memo) -> PointConfig:
    config, choices = _compose(fixed, overrides)
    return PointConfig(tuple(overrides), config, choices, memo)


def _compositions(grid: Grid) -> int:
    """The number of compositions that are needed to find the changes of all values. Plain values need none."""
    option_axes = [
        axis
        for axis in grid.axes
        if any("." not in override.partition("=")[0] for value in axis.values for override in value)
    ]
    return 2 + _PROBES + 2 * sum(map(len, option_axes))


def _assemble(grid: Grid) -> list[PointConfig] | None:
    """The points, assembled from the changes of each value; None if the axes are not independent."""
    tree, changes = _changes_of_values(grid, [axis.values[0] for axis in grid.axes])
    _, changes_beside_last = _changes_of_values(grid, [axis.values[-1] for axis in grid.axes])
    if changes != changes_beside_last or not _independent(changes):
        return None
    points, memo = [], Memo()
    for overrides, combination in zip(grid.combinations, product(*changes), strict=True):
        leaves: Changes = {}
        for changes_of_value in combination:
            leaves.update(changes_of_value)
        config, choices = _apply(tree, leaves)
        points.append(PointConfig(overrides, config, choices, memo))
    probes = random.Random(0).sample(points, min(_PROBES, len(points)))
    equal = all(probe == _compose_in_full(grid.fixed, probe.overrides, memo) for probe in probes)
    return points if equal else None


def _changes_of_values(grid: Grid, beside: Sequence[tuple[str, ...]]) -> tuple[Tree, list[list[Changes]]]:
    """The tree of the values `beside`, one per axis; and for each axis the changes of each of its values.

    The changes are relative to the first value of the axis. Raises ConfigError with the problems of all values.
    """
    problems: dict[Problem, None] = {}

    def compose_values(values: Sequence[tuple[str, ...]]) -> Tree:
        try:
            return _compose(grid.fixed, tuple(chain.from_iterable(values)))
        except ConfigError as error:
            problems.update(dict.fromkeys(error.problems))
            return Tree({}, {})

    base = compose_values(beside)
    changes: list[list[Changes]] = []
    for number, axis in enumerate(grid.axes):
        plain = [_plain_changes(value) for value in axis.values]
        if all(leaves is not None and _has_leaves(base, leaves) for leaves in plain):
            changes.append([leaves or {} for leaves in plain])
            continue
        combinations = [(*beside[:number], value, *beside[number + 1 :]) for value in axis.values]
        trees = [base if values == tuple(beside) else compose_values(values) for values in combinations]
        changes.append([dict(_differences(trees[0]._asdict(), tree._asdict())) for tree in trees])
    if problems:
        raise ConfigError(list(problems))
    return base, changes


def _plain_changes(overrides: Sequence[str]) -> Changes | None:
    """The leaves that plain values set (`retriever.k=3`); None for an option, an addition, or a composite value."""
    changes: Changes = {}
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        value = override.value()
        plain = value is None or (isinstance(value, (bool, int, float, str)) and "${" not in str(value))
        if not plain or override.is_add() or override.is_delete() or override.package is not None:
            return None
        changes["config", *override.key_or_group.split(".")] = value
    return changes


def _has_leaves(tree: Tree, changes: Changes) -> bool:
    """Whether the tree has a leaf at each path, neither a branch nor a group."""
    for path in changes:
        node: Any = tree._asdict()
        if "/".join(path[1:]) in tree.choices:
            return False
        for step in path:
            if not isinstance(node, Mapping) or step not in node:
                return False
            node = node[step]
        if isinstance(node, (Mapping, list)):
            return False
    return True


def _differences(old: Any, new: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The leaves in which two trees differ: the path, and the new value or DELETED."""
    if isinstance(old, dict) and isinstance(new, dict) and old and new:
        for key in {**old, **new}:
            yield from _differences(old.get(key, DELETED), new.get(key, DELETED), (*path, str(key)))
    elif isinstance(new, dict) and new:
        if old is not DELETED:
            yield path, {}
        for key, value in new.items():
            yield from _differences(DELETED, value, (*path, str(key)))
    elif old is not new and (old != new or type(old) is not type(new)):
        yield path, new


def _independent(axes: Sequence[Sequence[Changes]]) -> bool:
    """Whether no two axes change the same leaf, or a leaf and its parent, and none changes the stages."""
    paths_of_axes = [{path for changes in axis for path in changes} for axis in axes]
    if any(path[:2] == ("config", "stages") for paths in paths_of_axes for path in paths):
        return False
    for number, paths in enumerate(paths_of_axes):
        others = set().union(*paths_of_axes[:number], *paths_of_axes[number + 1 :])
        if paths & {path[:depth] for path in others for depth in range(1, len(path) + 1)}:
            return False
    return True


def _apply(tree: Tree, changes: Changes) -> tuple[dict[str, Any], dict[str, str]]:
    """The config and choices of a tree with changed leaves. Unchanged branches are shared, not copied."""
    root: dict[str, Any] = tree._asdict()
    copies: dict[Path, dict[str, Any]] = {(): root}
    for path, value in changes.items():
        node = root
        for depth in range(1, len(path)):
            parent = path[:depth]
            if parent not in copies:
                child = node.get(path[depth - 1])
                copies[parent] = node[path[depth - 1]] = dict(child) if isinstance(child, dict) else {}
            node = copies[parent]
        if value is DELETED:
            node.pop(path[-1], None)
        else:
            node[path[-1]] = value
    return root["config"], root["choices"]
