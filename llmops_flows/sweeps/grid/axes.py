"""Parse the overrides of a sweep into fixed values and axes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, product
from typing import Any

from llmops_flows.config.composition.override_parser import parse_override
from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.text.suggestions import did_you_mean

COMMAND_LINE = "command line"


@dataclass(frozen=True)
class SweepAxis:
    """Keys that vary together. Each value is a tuple with one override per key, in the order of the keys."""

    keys: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Grid:
    """The overrides that all points share, and the axes whose product defines the points."""

    fixed: tuple[str, ...]
    axes: tuple[SweepAxis, ...]

    @property
    def combinations(self) -> list[tuple[str, ...]]:
        """The overrides that distinguish each point, the last axis varying fastest."""
        return [tuple(chain.from_iterable(values)) for values in product(*(axis.values for axis in self.axes))]


def parse_overrides(overrides: Sequence[str]) -> list[Any]:
    """Overrides as parsed by Hydra. Raises ConfigError with every override that cannot be parsed."""
    results = [parse_override(override) for override in overrides]
    if problems := [problem for _, problem in results if problem is not None]:
        raise ConfigError(problems)
    return [parsed for parsed, _ in results]


def parse_grid(overrides: Sequence[str], zipped: Sequence[Sequence[str]] = ()) -> Grid:
    """The grid of overrides in Hydra's grammar (with globs expanded).

    Args:
        overrides: `a=1,2`, `choice(…)`, `range(…)` and `sort(…)` define an axis; other overrides are fixed.
        zipped: lists of keys whose axes vary together: the first values, the second values, and so on.

    Raises:
        ConfigError: an override cannot be parsed, an axis is infinite, or keys cannot be zipped.
    """
    fixed: dict[str, str] = {}
    varying: dict[str, tuple[str, ...]] = {}
    for override in parse_overrides(overrides):
        key = override.get_key_element()
        fixed.pop(key, None)
        varying.pop(key, None)
        if override.is_sweep_override():
            varying[key] = _values(override)
        else:
            fixed[key] = str(override.input_line)
    return Grid(tuple(fixed.values()), tuple(_axes(varying, zipped)))


def _values(override: Any) -> tuple[str, ...]:
    if not override.is_discrete_sweep():
        hint = "list the values: choice(…), range(…), a,b,c; or search the interval: hydra/sweeper=optuna"
        raise ConfigError(
            Problem("a sweep cannot list the values of an interval", override.input_line, COMMAND_LINE, hint)
        )
    key = override.get_key_element()
    return tuple(dict.fromkeys(f"{key}={value}" for value in override.sweep_string_iterator()))


def _axes(varying: dict[str, tuple[str, ...]], zipped: Sequence[Sequence[str]]) -> list[SweepAxis]:
    _check_unique(zipped)
    groups = {key: tuple(group) for group in zipped for key in group}
    axes: dict[tuple[str, ...], SweepAxis] = {}
    for key in [*varying, *groups]:
        group = groups.get(key, (key,))
        if group not in axes:
            axes[group] = _axis(group, varying)
    return list(axes.values())


def _check_unique(zipped: Sequence[Sequence[str]]) -> None:
    counts = Counter(chain.from_iterable(zipped))
    hint = "name each key once; keys that vary together are one list: sweep.zip=[[a,b,c]]"
    problems = [
        Problem(f"{key!r} occurs {count} times", "sweep.zip", COMMAND_LINE, hint)
        for key, count in counts.items()
        if count > 1
    ]
    if problems:
        raise ConfigError(problems)


def _axis(group: tuple[str, ...], varying: dict[str, tuple[str, ...]]) -> SweepAxis:
    for key in group:
        if key not in varying:
            raise ConfigError(
                Problem(f"{key!r} has only one value", "sweep.zip", COMMAND_LINE, did_you_mean(key, varying))
            )
    if len({len(varying[key]) for key in group}) > 1:
        counts = ", ".join(f"{key} has {len(varying[key])}" for key in group)
        hint = "give each key the same number of values"
        raise ConfigError(Problem(f"keys cannot vary together: {counts}", "sweep.zip", COMMAND_LINE, hint))
    return SweepAxis(group, tuple(zip(*(varying[key] for key in group), strict=True)))
