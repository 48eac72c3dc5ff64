"""Define a search from its overrides, and check it completely before it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import ValidationError

from llmops_flows.config.composition.override_parser import expand_globs
from llmops_flows.config.experiment import Experiment
from llmops_flows.config.experiment_identity import experiment_identity
from llmops_flows.config.field_errors import field_problems
from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.core.fingerprint import address

from ..grid.composer import Composer
from ..grid.points import Point, build_point, declared_metrics
from ..grid.sweep_settings import SweepSettings, parse_settings
from .objectives import SCORES, Objective, parse_objectives
from .search_settings import SearchSettings
from .space import Space, parse_space


@dataclass(frozen=True)
class Search:
    """A search.

    Attributes:
        space: the parameters that vary.
        objectives: the figures to maximize and minimize.
        settings: the settings of `hydra.sweeper`.
        sweep: the settings of `sweep.*`.
        study: the name of its study, which depends on the identity and the sampler.
        flow: the name of the flow.
        home: the folder of the default storage.
        identity: addresses of the pipeline, the space and the objectives.
        composer: composes its points.
    """

    space: Space
    objectives: tuple[Objective, ...]
    settings: SearchSettings
    sweep: SweepSettings
    study: str
    flow: str
    home: Path
    identity: Mapping[str, str]
    composer: Composer = field(compare=False, repr=False)


def define_search(overrides: Sequence[str], sweeper: Mapping[str, Any]) -> Search:
    """The search with these overrides in Hydra's grammar.

    Args:
        sweeper: the content of `hydra.sweeper`.

    Raises:
        ConfigError: with everything that is wrong with the settings, the space and its values, or the objectives.
    """
    settings = _parse_search_settings(sweeper)
    point_overrides, sweep = parse_settings(overrides)
    params = expand_globs([f"{key}={value}" for key, value in settings.params.items()])
    space = parse_space([*params, *point_overrides], sweep.zip)
    composer = Composer(space.fixed)
    points = _build_probes(space, composer)
    experiments = [point.experiment for point in points if point.experiment is not None]
    if not experiments:
        raise ConfigError(list(dict.fromkeys(problem for point in points for problem in point.problems)))
    objectives = _objectives(sweep, settings, experiments)
    identity = {
        "pipeline": address([_pipeline(point) for point in points]),
        "space": address([[repr(p) for p in space.parameters], sweep.where.text if sweep.where else ""]),
        "objectives": address([[objective.name, objective.maximize] for objective in objectives]),
    }
    first = experiments[0].settings
    study = _study_name(settings, sweep, first.name, identity)
    return Search(space, objectives, settings, sweep, study, first.name, Path(first.home), identity, composer)


def _pipeline(point: Point) -> str | list[str]:
    """The identity of the experiment of a point, or the errors in its config."""
    return [str(p) for p in point.problems] if point.experiment is None else experiment_identity(point.experiment)


def _parse_search_settings(sweeper: Mapping[str, Any]) -> SearchSettings:
    try:
        return SearchSettings(**{str(key): value for key, value in sweeper.items()})
    except ValidationError as error:
        raise ConfigError(field_problems(error, SearchSettings, "hydra.sweeper", sweeper)) from None


def _build_probes(space: Space, composer: Composer) -> list[Point]:
    """A few points that check each value and identify the pipeline."""
    points, problems = [], dict[Problem, None]()
    for number, overrides in enumerate(space.probes):
        try:
            points.append(build_point(number, composer.compose(overrides), space.fixed, {}))
        except ConfigError as error:
            problems.update(dict.fromkeys(error.problems))
    if problems:
        raise ConfigError(list(problems))
    return points


def _objectives(
    sweep: SweepSettings, settings: SearchSettings, experiments: Sequence[Experiment]
) -> tuple[Objective, ...]:
    names = sweep if sweep.maximize or sweep.minimize else settings
    metrics, complete = declared_metrics(experiments)
    objectives = parse_objectives(names.maximize, names.minimize, metrics, complete=complete)
    if sweep.stop is not None and [objective.name for objective in objectives] != [f"{SCORES}{sweep.stop}"]:
        # A point that is worse by one objective may be on the Pareto front of several.
        message = "a search can stop points early only by its single objective"
        hint = f"sweep.maximize=[{SCORES}{sweep.stop}], or leave out sweep.stop"
        raise ConfigError(Problem(message, "sweep.stop", hint=hint))
    return objectives


def _study_name(settings: SearchSettings, sweep: SweepSettings, flow: str, identity: Mapping[str, str]) -> str:
    sampling = [settings.sampler, settings.sampler_options, settings.seed]
    name = settings.study_name or f"{flow}-{address([dict(identity), sampling])[:12]}"
    return name if sweep.resume else f"{name}-{uuid4().hex[:8]}"
