"""Expand the overrides of a sweep into its points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmops_flows.config.compose import compose
from llmops_flows.config.experiment import Experiment, build_experiment, build_resolved
from llmops_flows.config.experiment_identity import experiment_identity
from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.core.roles import Evaluator
from llmops_flows.text.suggestions import did_you_mean

from .axes import COMMAND_LINE, parse_grid
from .composer import PointConfig, compose_points
from .sweep_settings import SWEEP, parse_settings


@dataclass(frozen=True)
class Point:
    """One point of a sweep or search: its number and the experiment that it runs.

    Attributes:
        number: its place in the sweep, from 0.
        overrides: the overrides that distinguish it from the other points.
        experiment: the experiment; None if its config is invalid.
        problems: the errors in its config.
        same_as: the number of an earlier point that does exactly the same work.
    """

    number: int
    overrides: tuple[str, ...]
    experiment: Experiment | None
    problems: tuple[Problem, ...] = ()
    same_as: int | None = None

    @property
    def valid_experiment(self) -> Experiment:
        """The experiment of a point that is known to be valid."""
        assert self.experiment is not None
        return self.experiment

    @property
    def stage_path(self) -> list[str]:
        """The identities of its stages in order: points with a common prefix share the work of these stages."""
        return [stage.identity for _, stage in self.valid_experiment.flow.leaves()]


def expand_points(overrides: Sequence[str]) -> list[Point]:
    """Every point of the sweep, the last axis varying fastest.

    Args:
        overrides: in Hydra's grammar, with free text quoted and globs expanded. `sweep.zip` names axes that vary
            together, `sweep.where` is a constraint that each point must fulfill.

    Raises:
        ConfigError: with everything that is wrong with the overrides, or if no point fulfills the constraint.
    """
    point_overrides, settings = parse_settings(overrides)
    if settings.maximize or settings.minimize:
        key = f"{SWEEP}{'maximize' if settings.maximize else 'minimize'}"
        hint = "add hydra/sweeper=optuna"
        raise ConfigError(Problem("a sweep runs every point; only a search has objectives", key, COMMAND_LINE, hint))
    grid = parse_grid(point_overrides, settings.zip)
    configs = [config for config in compose_points(grid) if settings.allows(config.value)]
    if not configs:
        raise ConfigError(Problem("no point fulfills the constraint", "sweep.where", hint="loosen the constraint"))
    numbers: dict[str, int] = {}
    points = [build_point(number, config, grid.fixed, numbers) for number, config in enumerate(configs)]
    _check_stop_metric(points, settings.stop)
    return points


def build_point(number: int, config: PointConfig, fixed: Sequence[str], numbers: dict[str, int]) -> Point:
    """Build the experiment of a point.

    Args:
        number: the place of the point in the sweep.
        config: its config.
        fixed: the overrides that all points share.
        numbers: address of a point's work to the number of the first point that does it; updated.
    """
    try:
        experiment = _build(config, fixed)
        first = numbers.setdefault(experiment_identity(experiment), number)
    except ConfigError as error:
        return Point(number, config.overrides, None, error.problems)
    return Point(number, config.overrides, experiment, same_as=first if first != number else None)


def _build(config: PointConfig, fixed: Sequence[str]) -> Experiment:
    try:
        return build_resolved(
            config.plain, stage_keys=config.stage_keys, choices=config.choices, built=config.memo.components
        )
    except ConfigError:
        # Compose and build it in full, which locates each problem by file and line.
        return build_experiment(compose([*fixed, *config.overrides], typed=False))


def declared_metrics(experiments: Sequence[Experiment]) -> tuple[list[str], bool]:
    """The metrics that the evaluators declare, and whether every evaluator declares its metrics."""
    stages = [stage for experiment in experiments for stage in experiment.evaluators.values()]
    evaluators = [stage for stage in stages if isinstance(stage, Evaluator)]
    metrics = dict.fromkeys(metric for evaluator in evaluators for metric in evaluator.metrics)
    return list(metrics), all(evaluator.metrics for evaluator in evaluators)


def _check_stop_metric(points: Sequence[Point], metric: str | None) -> None:
    """Raise ConfigError if no evaluator of any point computes the metric of `sweep.stop`."""
    experiments = [point.experiment for point in points if point.experiment is not None]
    metrics, complete = declared_metrics(experiments)
    if metric is not None and experiments and metric not in metrics and complete:
        hint = did_you_mean(metric, metrics) if metrics else "choose an evaluator"
        raise ConfigError(Problem(f"no evaluator computes the score {metric!r}", f"{SWEEP}stop", COMMAND_LINE, hint))
