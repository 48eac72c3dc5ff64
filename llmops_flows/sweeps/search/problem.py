"""A search as it was asked for, looked at as a whole before anything runs."""

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

from ..grid.composer import ComposedPoint, Composer
from ..grid.points import Point, cell, holds, metrics
from ..grid.settings import SweepSettings, rules
from .objectives import SCORES, Objective, objectives
from .settings import SearchSettings
from .space import Space, space

AT = "hydra.sweeper"


@dataclass(frozen=True)
class SearchProblem:
    """A search.

    Attributes:
        space: what may vary.
        objectives: what it is after.
        settings: how it goes about it.
        rules: what `sweep.*` says.
        name: the name of its study. What is about something else, or proposes otherwise, has another one.
        flow: the name of the flow. home: where answers are kept.
        about: what its points have in common, each as an address: pipeline, space, objectives.
    """

    space: Space
    objectives: tuple[Objective, ...]
    settings: SearchSettings
    rules: SweepSettings
    name: str
    flow: str
    home: Path
    about: Mapping[str, str]
    composer: Composer = field(compare=False, repr=False)

    def point(self, overrides: Sequence[str]) -> ComposedPoint:
        """The point that overrides set apart. Raises ConfigError."""
        return self.composer.point(overrides)

    def allows(self, point: ComposedPoint) -> bool:
        """Whether `sweep.where` lets a point in."""
        return self.rules.where is None or holds(self.rules.where, point)


def search(overrides: Sequence[str], sweeper: Mapping[str, Any]) -> SearchProblem:
    """The search that overrides ask for, in Hydra's grammar. `sweeper`: what `hydra.sweeper` holds.

    Raises:
        ConfigError: with everything that is wrong with the settings, the space and its values, or the objectives.
    """
    settings = _settings(sweeper)
    asked, own = rules(overrides)
    params = expand_globs([f"{key}={value}" for key, value in settings.params.items()])
    wanted = space([*params, *asked], own.zip)
    composer = Composer(wanted.fixed)
    probed = _probed(wanted, composer)
    right = [one.experiment for one in probed if one.experiment is not None]
    if not right:
        raise ConfigError(list(dict.fromkeys(problem for one in probed for problem in one.problems)))
    found = _objectives(own, settings, right)
    _judges(own, found)
    about = {
        "pipeline": address(
            [experiment_identity(e) if (e := one.experiment) else [str(f) for f in one.problems] for one in probed]
        ),
        "space": address([[repr(parameter) for parameter in wanted.parameters], own.where.text if own.where else ""]),
        "objectives": address([[one.name, one.maximize] for one in found]),
    }
    first = right[0].settings
    name = _name(settings, own, first.name, about)
    return SearchProblem(wanted, found, settings, own, name, first.name, Path(first.home), about, composer)


def _judges(own: SweepSettings, found: Sequence[Objective]) -> None:
    """A point that is stopped early has lost by the one objective there is; with several it might be on the front."""
    if own.stop is not None and [one.name for one in found] != [f"{SCORES}{own.stop}"]:
        hint = f"sweep.maximize=[{SCORES}{own.stop}], or without sweep.stop"
        raise ConfigError(
            Problem("points are stopped by the one objective of a search, or not at all", "sweep.stop", hint=hint)
        )


def _name(settings: SearchSettings, own: SweepSettings, flow: str, about: Mapping[str, str]) -> str:
    how = [settings.sampler, settings.sampler_options, settings.seed]
    name = settings.study_name or f"{flow}-{address([dict(about), how])[:12]}"
    return name if own.resume else f"{name}-{uuid4().hex[:8]}"


def _settings(sweeper: Mapping[str, Any]) -> SearchSettings:
    try:
        return SearchSettings(**{str(key): value for key, value in sweeper.items()})
    except ValidationError as error:
        raise ConfigError(field_problems(error, SearchSettings, AT, sweeper)) from None


def _probed(wanted: Space, composer: Composer) -> list[Point]:
    """A few points, built: they tell whether each value is right, and what the pipeline is made of."""
    found, problems = [], dict[Problem, None]()
    for number, overrides in enumerate(wanted.probes):
        try:
            found.append(cell(number, composer.point(overrides), wanted.fixed, {}))
        except ConfigError as error:
            problems.update(dict.fromkeys(error.problems))
    if problems:
        raise ConfigError(list(problems))
    return found


def _objectives(
    own: SweepSettings, settings: SearchSettings, experiments: Sequence[Experiment]
) -> tuple[Objective, ...]:
    given = own if own.maximize or own.minimize else settings
    names, sure = metrics(experiments)
    return objectives(given.maximize, given.minimize, names, sure=sure)
