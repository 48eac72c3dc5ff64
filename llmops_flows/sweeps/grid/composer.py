"""The configs of a sweep's points, at the price of the axes' values instead of their product."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, product
from math import prod
from typing import Any

from omegaconf import OmegaConf

from llmops_flows.config.compose import compose
from llmops_flows.config.composition.composed import Composed
from llmops_flows.config.composition.interpolation import resolve_plain
from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.core.stage import Part

from .axes import Grid

Path = tuple[str, ...]
Changes = dict[Path, Any]
"""Path of a leaf to its value, or GONE."""

MOST = 50_000
"""How many points a sweep may have: more are a slip, or a search."""
_PROBES = 3
"""How many points are composed in full as well, to see that the parts fit."""


class _Gone:
    def __repr__(self) -> str:
        return "GONE"


GONE = _Gone()


@dataclass(frozen=True)
class Memo:
    """What was found out at one point and holds at others: what resolvers gave, by their text; parts, by config."""

    called: dict[str, Any] = field(default_factory=dict)
    made: dict[str, Part] = field(default_factory=dict)


@dataclass(frozen=True)
class ComposedPoint:
    """One point of a sweep or search, composed: its config. Built, it is a `Cell`.

    Attributes:
        overrides: the overrides that set it apart from the other points.
        raw: its config, interpolations unresolved.
        choices: group to chosen option.
        memo: what the points of a sweep share.
    """

    overrides: tuple[str, ...]
    raw: Mapping[str, Any]
    choices: Mapping[str, str]
    memo: Memo = field(default_factory=Memo, compare=False, repr=False)

    @property
    def config(self) -> dict[str, Any]:
        """The config as plain data. Raises ConfigError where an interpolation leads nowhere."""
        return resolve_plain(self.raw, self.memo.called)

    @property
    def names(self) -> dict[str, str]:
        """Stage to the config key that it is taken from."""
        stages = self.raw.get("stages") or {}
        taken = {str(n): v for n, v in stages.items() if isinstance(v, str)}
        return {n: v[2:-1] for n, v in taken.items() if v.startswith("${") and v.endswith("}")}


def points(grid: Grid) -> list[ComposedPoint]:
    """Every point of the grid, the last axis varying fastest.

    What an option changes is found by composing it once, beside the first and beside the last values of the other
    axes; a plain value changes its own leaf. Where values change each other's keys, every point is composed in full.

    Raises:
        ConfigError: with everything that is wrong with any of the overrides, or that there are too many points.
    """
    count = prod(map(len, grid.axes))
    if count > MOST:
        hint = f"at most {MOST:,}: fewer values, axes that move together (sweep.zip), or hydra/sweeper=optuna"
        raise ConfigError(Problem(f"this sweep has {count:,} points", "-m", "command line", hint))
    wanted = grid.points
    if grid.axes and len(wanted) > _composings(grid):
        found = _spliced(grid)
        if found is not None:
            return found
    return [_point(overrides, _composed(grid, overrides)) for overrides in wanted]


def _composings(grid: Grid) -> int:
    """How many configs it takes to find out what each value changes: options are composed, plain values are not."""
    options = [a for a in grid.axes if any("." not in word.partition("=")[0] for step in a.steps for word in step)]
    return 2 + _PROBES + 2 * sum(map(len, options))


class Composer:
    """Points one by one: what their options give is composed once, plain values are put where they belong.

    The first one that is put together with the same options is composed in full, too, to see that they are equal.
    """

    def __init__(self, fixed: Sequence[str]) -> None:
        self._grid = Grid(tuple(fixed), ())
        self._groups: set[str] = set()
        self._trees: dict[tuple[str, ...], dict[str, Any]] = {}
        self._fits: dict[tuple[str, ...], bool] = {}
        self._memo = Memo()

    def point(self, overrides: Sequence[str]) -> ComposedPoint:
        """The point that overrides set apart. Raises ConfigError."""
        options, plain = self._parts(overrides)
        tree = self._trees.get(options)
        if tree is None or not _has(tree, plain) or not self._fits.get(options, True):
            found = self._whole(overrides)
            self._groups |= found.choices.keys()
            self._trees.setdefault(self._parts(overrides)[0], {"config": found.raw, "choices": found.choices})
            return found
        raw, choices = _applied(tree, plain)
        found = ComposedPoint(tuple(overrides), raw, choices, self._memo)
        if options not in self._fits:
            self._fits[options] = found == self._whole(overrides)
            return self.point(overrides)
        return found

    def _parts(self, overrides: Sequence[str]) -> tuple[tuple[str, ...], Changes]:
        """The overrides that must be composed, and the leaves that the others set."""
        options, plain = [], Changes()
        for override in overrides:
            leaves = _leaves([override])
            if leaves is None or any("/".join(path[1:]) in self._groups for path in leaves):
                options.append(override)
            else:
                plain.update(leaves)
        return tuple(options), plain

    def _whole(self, overrides: Sequence[str]) -> ComposedPoint:
        composed = _composed(self._grid, overrides)
        return ComposedPoint(tuple(overrides), _raw(composed), composed.choices, self._memo)


def _composed(grid: Grid, overrides: Sequence[str]) -> Composed:
    return compose([*grid.fixed, *overrides], typed=False)


def _point(overrides: Sequence[str], composed: Composed) -> ComposedPoint:
    return ComposedPoint(tuple(overrides), _raw(composed), composed.choices)


def _raw(composed: Composed) -> dict[str, Any]:
    found = OmegaConf.to_container(composed.config, resolve=False)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def _spliced(grid: Grid) -> list[ComposedPoint] | None:
    """The points put together from what each value changes; None when the axes are not independent."""
    first = [axis.steps[0] for axis in grid.axes]
    base, changes = _changes(grid, first)
    _, others = _changes(grid, [axis.steps[-1] for axis in grid.axes])
    if not _independent(changes) or not _agree(changes, others):
        return None
    found = []
    memo = Memo()
    for numbers in product(*(range(len(axis)) for axis in grid.axes)):
        overrides = tuple(chain.from_iterable(axis.steps[n] for axis, n in zip(grid.axes, numbers, strict=True)))
        leaves: Changes = {}
        for axis, n in zip(changes, numbers, strict=True):
            leaves.update(axis[n])
        raw, choices = _applied(base, leaves)
        found.append(ComposedPoint(overrides, raw, choices, memo))
    probes = random.Random(0).sample(found, min(_PROBES, len(found)))
    whole = [_point(p.overrides, _composed(grid, p.overrides)) for p in probes]
    return found if probes == whole else None


def _changes(grid: Grid, beside: Sequence[tuple[str, ...]]) -> tuple[dict[str, Any], list[list[Changes]]]:
    """The tree beside which the axes vary, and for each value of each axis what it makes of it.

    Both are relative to the first value of the axis.
    """
    problems: dict[Problem, None] = {}

    def tree(*steps: tuple[str, ...]) -> dict[str, Any]:
        try:
            composed = _composed(grid, tuple(chain.from_iterable(steps)))
            return {"config": _raw(composed), "choices": composed.choices}
        except ConfigError as error:
            problems.update(dict.fromkeys(error.problems))
            return {}

    base = tree(*beside)
    found: list[list[Changes]] = []
    for number, axis in enumerate(grid.axes):
        plain = [_leaves(step) for step in axis.steps]
        if all(leaves is not None and _has(base, leaves) for leaves in plain):
            found.append([leaves or {} for leaves in plain])
            continue
        steps = [(*beside[:number], step, *beside[number + 1 :]) for step in axis.steps]
        trees = [base if step == tuple(beside) else tree(*step) for step in steps]
        found.append([dict(_differ(trees[0], other)) for other in trees])
    if problems:
        raise ConfigError(list(problems))
    return base, found


def _leaves(overrides: Sequence[str]) -> Changes | None:
    """The leaves that plain values set (`retriever.k=3`); None for an option, an addition, anything composite."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    found: Changes = {}
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        value = override.value()
        plain = value is None or (isinstance(value, (bool, int, float, str)) and "${" not in str(value))
        if not plain or override.is_add() or override.is_delete() or override.package is not None:
            return None
        found["config", *override.key_or_group.split(".")] = value
    return found


def _has(tree: Mapping[str, Any], leaves: Changes) -> bool:
    """Whether the tree has a leaf at each of the places: no branch, and no group of options."""
    for path in leaves:
        node: Any = tree
        if "/".join(path[1:]) in tree.get("choices", {}):
            return False
        for step in path:
            if not isinstance(node, Mapping) or step not in node:
                return False
            node = node[step]
        if isinstance(node, (Mapping, list)):
            return False
    return True


def _differ(one: Any, other: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The leaves in which two trees differ: path and the other's value, or GONE."""
    if isinstance(one, dict) and isinstance(other, dict) and one and other:
        for key in {**one, **other}:
            yield from _differ(one.get(key, GONE), other.get(key, GONE), (*path, str(key)))
    elif isinstance(other, dict) and other:
        if one is not GONE:
            yield path, {}
        for key, value in other.items():
            yield from _differ(GONE, value, (*path, str(key)))
    elif one is not other and (one != other or type(one) is not type(other)):
        yield path, other


def _independent(axes: Sequence[Sequence[Changes]]) -> bool:
    """Whether no two axes change the same leaf, or a leaf and what is above it, and none the order of stages."""
    touched = [{path for changes in axis for path in changes} for axis in axes]
    if any(path[:2] == ("config", "stages") for paths in touched for path in paths):
        return False
    for number, paths in enumerate(touched):
        rest = set().union(*touched[:number], *touched[number + 1 :])
        above = {path[:depth] for path in rest for depth in range(1, len(path) + 1)}
        if paths & above:
            return False
    return True


def _agree(axes: Sequence[Sequence[Changes]], others: Sequence[Sequence[Changes]]) -> bool:
    """Whether values change the same whatever they stand beside."""
    return all(
        one == other
        for axis, other_axis in zip(axes, others, strict=True)
        for one, other in zip(axis, other_axis, strict=True)
    )


def _applied(tree: Mapping[str, Any], changes: Changes) -> tuple[dict[str, Any], dict[str, str]]:
    """The tree with its leaves changed; what is not changed is shared."""
    root: dict[str, Any] = dict(tree)
    own: dict[Path, dict[str, Any]] = {(): root}
    for path, value in changes.items():
        node = root
        for depth in range(1, len(path)):
            place = path[:depth]
            if place not in own:
                below = node.get(path[depth - 1])
                own[place] = node[path[depth - 1]] = dict(below) if isinstance(below, dict) else {}
            node = own[place]
        if value is GONE:
            node.pop(path[-1], None)
        else:
            node[path[-1]] = value
    return root["config"], root["choices"]
