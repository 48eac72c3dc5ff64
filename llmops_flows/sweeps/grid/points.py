"""The cells of a sweep: every point built, its faults told, and points that would do the same work known as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmops_flows.config.compose import compose
from llmops_flows.config.experiment import Experiment, build_experiment, build_resolved
from llmops_flows.config.experiment_identity import experiment_identity
from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.core.roles import Evaluator
from llmops_flows.text.suggestions import did_you_mean

from .axes import grid
from .composer import ComposedPoint, points
from .constraints import Where
from .settings import SWEEP, rules


@dataclass(frozen=True)
class Point:
    """One point of a sweep or search, numbered and built: what it runs, or what is wrong with it.

    Attributes:
        number: its place in the sweep, from 0.
        overrides: what sets it apart from the other points.
        experiment: what it runs; None where its config is wrong.
        faults: what is wrong with its config.
        same_as: the number of an earlier point that does exactly the same, None if there is none.
    """

    number: int
    overrides: tuple[str, ...]
    experiment: Experiment | None
    problems: tuple[Problem, ...] = ()
    same_as: int | None = None


def cells(overrides: Sequence[str]) -> list[Point]:
    """Every cell of the sweep that overrides ask for, the last axis varying fastest.

    The overrides are in Hydra's grammar: free text is quoted (`text.quoted`), globs are written out
    (`compose.expanded`).

    `sweep.zip` names axes that move together, `sweep.where` is a condition that a point must fulfil.

    Raises:
        ConfigError: with everything that is wrong with the overrides themselves, or when no point is left.
    """
    asked, own = rules(overrides)
    if own.maximize or own.minimize:
        what, hint = "a sweep runs every point; a search has something to reach", "add hydra/sweeper=optuna"
        raise ConfigError(Problem(what, f"{SWEEP}{'maximize' if own.maximize else 'minimize'}", "command line", hint))
    wanted = grid(asked, own.zip)
    kept = [point for point in points(wanted) if own.where is None or holds(own.where, point)]
    if not kept:
        raise ConfigError(Problem("no point is left", key="sweep.where", hint="loosen the condition"))
    first: dict[str, int] = {}
    found = [cell(number, point, wanted.fixed, first) for number, point in enumerate(kept)]
    _scored(found, own.stop)
    return found


def _scored(cells: Sequence[Point], metric: str | None) -> None:
    """Raise ConfigError if no evaluator of any point gives the metric that `sweep.stop` names."""
    built = [cell.experiment for cell in cells if cell.experiment is not None]
    gives, sure = metrics(built)
    if metric is not None and built and metric not in gives and sure:
        hint = did_you_mean(metric, gives) if gives else "choose an evaluator"
        raise ConfigError(Problem(f"no evaluator gives a score {metric!r}", f"{SWEEP}stop", "command line", hint))


def metrics(experiments: Sequence[Experiment]) -> tuple[list[str], bool]:
    """The scores that the evaluators of experiments give; whether they are all, for some do not say beforehand."""
    scorers = [stage for one in experiments for stage in one.evaluators.values() if isinstance(stage, Evaluator)]
    return list(dict.fromkeys(name for stage in scorers for name in stage.metrics)), all(s.metrics for s in scorers)


def cell(number: int, point: ComposedPoint, fixed: Sequence[str], first: dict[str, int]) -> Point:
    """A point, built.

    Args:
        number: its place in the sweep.
        point: the point.
        fixed: the overrides of all points.
        first: work to the number of the first cell that does it; filled in.
    """
    found = _cell(number, point, fixed)
    if found.experiment is None:
        return found
    try:
        same = first.setdefault(experiment_identity(found.experiment), number)
    except ConfigError as error:
        return replace(found, experiment=None, problems=error.problems)
    return replace(found, same_as=same if same != number else None)


def holds(where: Where, point: ComposedPoint) -> bool:
    """Whether a point fulfils a condition."""

    def look(key: str) -> Any:
        if key in point.choices:
            return point.choices[key]
        node: Any = point.raw
        for step in key.split("."):
            node = node[step]
        return node

    def careful(key: str) -> Any:
        try:
            return look(key)
        except (KeyError, TypeError):
            raise LookupError(key) from None

    return where(careful)


def _cell(number: int, point: ComposedPoint, fixed: Sequence[str]) -> Point:
    try:
        experiment = build_resolved(point.config, stage_keys=point.names, choices=point.choices, built=point.memo.made)
    except ConfigError as error:
        problems = error.problems
        try:  # once more in full: then each fault knows its file and line
            return Point(number, point.overrides, build_experiment(compose([*fixed, *point.overrides], typed=False)))
        except ConfigError as located:
            problems = located.problems
        return Point(number, point.overrides, None, problems)
    return Point(number, point.overrides, experiment)
