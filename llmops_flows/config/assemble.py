"""From a composed config to an experiment, with every fault located."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from llmops_flows.core.errors import ConfigError, Problem

from .composition.composed import NO_FLOW
from .experiment import Experiment, build

if TYPE_CHECKING:
    from .composition.composed import Composed


def assembled(composed: Composed) -> Experiment:
    """The experiment of a composed config.

    Raises:
        ConfigError: with every value that is missing or leads nowhere, and everything that is wrong with the rest;
            each fault says in which file and line, or by which override, its key was set.
    """
    from .composition.location import located
    from .composition.unused_overrides import untaken

    config, problems = composed.loose
    problems = [*problems, *untaken(composed)]
    try:
        experiment = build(config, names=composed.names)
    except ConfigError as error:
        problems = _sorted(problems, error.problems)
    if problems:
        raise ConfigError(located(problems, composed))
    return replace(experiment, choices=composed.choices)


def _sorted(unresolved: Sequence[Problem], built: Sequence[Problem]) -> list[Problem]:
    """The faults of values that are missing or lead nowhere, and of what was built: no place twice."""
    unknown = {f.key for f in built if " has no field " in f.what or f.what.startswith("there is no key ")}
    if any(f.what == NO_FLOW for f in unresolved):
        built = [f for f in built if f.key != "stages"]
    own = [f for f in unresolved if not any(f.key == key or f.key.startswith(f"{key}.") for key in unknown)]
    return [*own, *(f for f in built if f.key in unknown or not any(_same(f, g.key or "name") for g in own))]


def _same(problem: Problem, key: str) -> bool:
    """Whether a fault is about a key that is wrong anyway, or about what lies in it."""
    above, _, name = key.rpartition(".")
    below = problem.key == key or problem.key.startswith(f"{key}.")
    return below or (above != "" and problem.key == above and name in problem.what) or "'???'" in problem.what
