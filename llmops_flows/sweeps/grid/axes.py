"""The axes of a sweep: Hydra's override grammar, with axes that move together and points that are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, product
from typing import Any

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.text.suggestions import did_you_mean

LINE = "command line"


@dataclass(frozen=True)
class SweepAxis:
    """What varies. Each of the `steps` is one value: an override for each of the `keys`, in their order."""

    keys: tuple[str, ...]
    steps: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True)
class Grid:
    """A sweep as it was asked for: what is the same at every point, and what varies."""

    fixed: tuple[str, ...]
    axes: tuple[SweepAxis, ...]

    @property
    def points(self) -> list[tuple[str, ...]]:
        """What sets each point apart from the others, the last axis varying fastest."""
        return [tuple(chain.from_iterable(steps)) for steps in product(*(axis.steps for axis in self.axes))]


def grid(overrides: Sequence[str], zipped: Sequence[Sequence[str]] = ()) -> Grid:
    """The grid that overrides in Hydra's grammar ask for (`glob` written out before).

    Args:
        overrides: as typed; `a=1,2`, `choice(…)`, `range(…)`, `sort(…)` make an axis, the rest is fixed.
        zipped: lists of keys whose axes move together: the first value with the first, and so on.

    Raises:
        ConfigError: an override that cannot be read, an axis without end, keys that cannot be zipped.
    """
    fixed: dict[str, str] = {}
    varying: dict[str, tuple[str, ...]] = {}
    for override in _parsed(overrides):
        key = override.get_key_element()
        fixed.pop(key, None)
        varying.pop(key, None)
        if override.is_sweep_override():
            varying[key] = _values(override)
        else:
            fixed[key] = str(override.input_line)
    return Grid(tuple(fixed.values()), tuple(_zip(varying, zipped)))


def _parsed(overrides: Sequence[str]) -> list[Any]:
    from llmops_flows.config.composition.override_parser import parse_override

    found = [parse_override(text) for text in overrides]
    problems = [problem for _, problem in found if problem is not None]
    if problems:
        raise ConfigError(problems)
    return [override for override, _ in found]


def _values(override: Any) -> tuple[str, ...]:
    if not override.is_discrete_sweep():
        hint = "name the values: choice(…), range(…), a,b,c; or search it: hydra/sweeper=optuna"
        raise ConfigError(Problem("an interval has no end of values", override.input_line, LINE, hint))
    key = override.get_key_element()
    return tuple(dict.fromkeys(f"{key}={value}" for value in override.sweep_string_iterator()))


def _zip(varying: dict[str, tuple[str, ...]], zipped: Sequence[Sequence[str]]) -> list[SweepAxis]:
    _once(zipped)
    joined = {key: tuple(group) for group in zipped for key in group}
    axes: dict[tuple[str, ...], SweepAxis] = {}
    for key, steps in varying.items():
        group = joined.get(key, (key,))
        if group not in axes:
            axes[group] = (
                SweepAxis((key,), tuple((step,) for step in steps)) if len(group) == 1 else _joint(group, varying)
            )
    for group in {tuple(group) for group in zipped} - axes.keys():
        _joint(group, varying)
    return list(axes.values())


def _once(zipped: Sequence[Sequence[str]]) -> None:
    """Raise ConfigError for keys that stand at two places of `sweep.zip`."""
    places = Counter(chain.from_iterable(zipped))
    hint = "name it once; what moves together is one list: sweep.zip=[[a,b,c]]"
    problems = [
        Problem(f"{key!r} stands there {count} times", "sweep.zip", LINE, hint)
        for key, count in places.items()
        if count > 1
    ]
    if problems:
        raise ConfigError(problems)


def _joint(group: tuple[str, ...], varying: dict[str, tuple[str, ...]]) -> SweepAxis:
    for key in group:
        if key not in varying:
            hint = did_you_mean(key, varying)
            raise ConfigError(Problem(f"{key!r} does not vary, so nothing can move with it", "sweep.zip", LINE, hint))
    lengths = {key: len(varying[key]) for key in group}
    if len(set(lengths.values())) > 1:
        counted = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        hint = "axes that move together need equally many values"
        raise ConfigError(Problem(f"these axes cannot move together: {counted}", "sweep.zip", LINE, hint))
    return SweepAxis(group, tuple(zip(*(varying[key] for key in group), strict=True)))
