"""Everything that is wrong with overrides and files, told at once: each fault with its place and the nearest name."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.text.suggestions import did_you_mean

from ..composition.defaults_list import entry_problems, groups, option_problem, options
from ..composition.override_parser import COMMAND_LINE, parse_override
from ..field_errors import MISSING, NO_FLOW, NOTHING
from ..files.paths import ROOT

if TYPE_CHECKING:
    from ..composition.hydra_loader import HydraConfigLoader

SEVERAL = "several values are given for a single run"
_SEVERAL = re.compile(r"(?:Ambiguous value for argument|Sweep parameters) '(.+)'")
_NO_MATCH = re.compile(r"(?:In '(.+?)': )?Could not override '(.+?)'")
FAILURES = (HydraException, OmegaConfBaseException, YAMLError, ConfigError, ValueError, TypeError, AssertionError)
"""What composing raises when a user made a mistake. Hydra checks some of what users write by assert."""


def diagnose(
    ours: HydraConfigLoader,
    overrides: Sequence[str],
    error: BaseException,
    *,
    owner: bool = False,
    several: bool = False,
) -> list[Problem]:
    """Every fault of the overrides, of the files and of what they build; failing that, the error itself.

    Args:
        owner: overrides may reach into Hydra.
        several: a key may be given several values, as in a sweep.
    """
    from ..composition.hydra_loader import hydra_problems

    problems = refused_overrides(overrides, owner=owner)
    if problems:
        overrides = [o for o in overrides if not hydra_problems([o], owner=owner)]
    good, unreadable = _parsed(overrides, several)
    problems += unreadable
    ours.strict = False
    chosen: dict[str, Any] = {}
    keys = [(text, parsed) for text, parsed in good if not _chooses(ours, parsed)]
    choices = []
    for text, parsed in good:
        if _chooses(ours, parsed):
            found_here = _option_problems(ours, parsed)
            problems += found_here
            if not found_here:
                choices.append(text)
                chosen[parsed.key_or_group] = parsed.value() if not parsed.is_sweep_override() else None
    problems += entry_problems(ours, chosen)
    whole, problem = _try(ours, choices)
    problems += ours.found
    kept = []
    for text, parsed in keys:
        found_here = _key_problems(whole, groups(ours), parsed)
        problems += found_here
        kept += [] if found_here or whole is None else [text]
    if whole is not None:
        flowless = any(problem.key.startswith("flow=") for problem in problems)
        problems += [
            f for f in _beyond(ours, [*choices, *kept], kept, problems) if not (flowless and f.what == NO_FLOW)
        ]
    elif problem is not None and not problems:
        error = problem
    return [problem for problem in _unique(problems) if not (several and problem.what == SEVERAL)] or error_problems(
        error
    )


def refused_overrides(overrides: Sequence[str], *, owner: bool) -> list[Problem]:
    """Faults of overrides that Hydra would take without a word: those that reach into Hydra, and two flows."""
    from ..composition.hydra_loader import hydra_problems

    flows = [o for o in overrides if o.lstrip("+").startswith("flow=")]
    twice = Problem(f"flow is given {len(flows)} times: {' '.join(flows)}", "flow", COMMAND_LINE, "keep one of them")
    return hydra_problems(overrides, owner=owner) + ([twice] if len(flows) > 1 else [])


def _beyond(ours: HydraConfigLoader, overrides: list[str], keys: list[str], known: list[Problem]) -> list[Problem]:
    """What is wrong with the config that the good overrides give."""
    from ..composition.composed import compose_with
    from ..experiment import build_experiment

    try:
        composed = compose_with(ours, overrides)
    except FAILURES as error:
        one_by_one = [problem for key in keys for problem in _alone(ours, overrides, keys, key)]
        return one_by_one or ([] if known else error_problems(error))
    unread = any(found for folder in ours.folders() for found in folder.problems.values())
    try:
        build_experiment(composed)
    except ConfigError as error:
        # A file that could not be read counts as empty: what is missing because of that is no news.
        dropped = any(folder.dropped for folder in ours.folders())
        found = [f for f in error.problems if not (dropped and f.what.startswith(NOTHING))]
        return [f for f in found if not (unread and _follows(f))]
    return []


def _follows(problem: Problem) -> bool:
    return problem.what.startswith(("not a component", MISSING, NOTHING, NO_FLOW, "${"))


def _alone(ours: HydraConfigLoader, overrides: list[str], keys: list[str], key: str) -> list[Problem]:
    """The fault of one override among others, which are taken as right."""
    others = [o for o in overrides if o not in keys]
    _, problem = _try(ours, [*others, key])
    return (
        []
        if problem is None
        else [dataclasses.replace(f, key=f.key or key, where=COMMAND_LINE) for f in error_problems(problem)]
    )


def _parsed(overrides: Sequence[str], several: bool) -> tuple[list[tuple[str, Any]], list[Problem]]:
    """The overrides that can be read, each as text (the first of `several` values) and parsed; the others' faults."""
    read = [(text, *parse_override(text)) for text in overrides]
    good = [(_one(text, parsed) if several else text, parsed) for text, parsed, _ in read if parsed is not None]
    return good, [problem for _, _, problem in read if problem is not None]


def _one(text: str, parsed: Any) -> str:
    """An override with the first of its values."""
    if not parsed.is_discrete_sweep():
        return text
    return f"{parsed.get_key_element()}={next(parsed.sweep_string_iterator())}"


def _chooses(ours: HydraConfigLoader, parsed: Any) -> bool:
    return bool(parsed.key_or_group) and bool(ours.repository.group_exists(parsed.key_or_group))


def _option_problems(ours: HydraConfigLoader, parsed: Any) -> list[Problem]:
    """A fault for every option of a group override that does not exist."""
    group = parsed.key_or_group
    if parsed.is_sweep_override():
        values = [getattr(v, "text", v) for v in parsed.sweep_iterator()] if parsed.is_discrete_sweep() else []
    elif parsed.is_delete() and parsed.value() in (None, ""):
        return []
    else:
        values = parsed.value()
    if (isinstance(values, str) and not values) or (values is None and group == "flow"):
        return [
            Problem(f"no option of {group} is given", f"{group}=", COMMAND_LINE, did_you_mean("", options(ours, group)))
        ]
    if not isinstance(values, (str, list)):
        known = options(ours, group)
        off = f"{group}=none switches it off; " if "none" in known else ""
        return [
            Problem(
                f"{values!r} is not an option of {group}",
                parsed.input_line,
                COMMAND_LINE,
                off + did_you_mean("", known),
            )
        ]
    return [
        option_problem(ours, group, name, where=COMMAND_LINE, key=f"{group}={name}")
        if isinstance(name, str)
        else Problem(
            f"{name!r} is not an option of {group}",
            f"{group}={name}",
            COMMAND_LINE,
            did_you_mean("", options(ours, group)),
        )
        for name in (values if isinstance(values, list) else [values])
        if not isinstance(name, str) or not ours.repository.config_exists(f"{group}/{name}")
    ]


def _try(ours: HydraConfigLoader, overrides: Sequence[str]) -> tuple[DictConfig | None, BaseException | None]:
    """The config of these overrides alone."""
    from hydra.types import RunMode

    try:
        return ours.load_configuration(ROOT, list(overrides), RunMode.RUN, from_shell=False), None
    except FAILURES as error:
        return None, error


def _key_problems(config: DictConfig | None, known_groups: Iterable[str], parsed: Any) -> list[Problem]:
    """A fault if the key of an override names nothing. A key that `+` would add is no exception: nobody reads it."""
    key = parsed.key_or_group
    if config is None:
        return []
    node: Any = config
    steps = [step for step in key.replace("[", ".").replace("]", "").split(".") if step]
    if not steps:
        return [Problem("the key before = is missing", parsed.input_line, COMMAND_LINE, "write key=value")]
    for depth, name in enumerate(steps):
        known = names(node)
        if name not in known:
            if depth and (parsed.is_add() or parsed.is_force_add()):
                return []  # fields that a class has and its file leaves out; the builder refuses the others
            choices = [n for n in known if n != "hydra"] + ([] if depth else list(known_groups))
            place = f" in {'.'.join(steps[:depth])!r}" if depth else ""
            several = "sweep.* says how several points are run: add -m"
            hint = several if key.startswith("sweep.") else did_you_mean(name, dict.fromkeys(choices))
            return [Problem(f"unknown key {name!r}{place}", key=key, where=COMMAND_LINE, hint=hint)]
        node = _inner(node, name)
    return []


def names(node: Any) -> list[str]:
    """The keys of a config node."""
    if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
        return [str(key) for key in node]
    if isinstance(node, ListConfig) and not node._is_none() and not node._is_missing():
        return [str(n) for n in range(len(node))]
    return []


def _inner(node: Any, name: str) -> Any:
    try:
        return OmegaConf.select(node, name)
    except OmegaConfBaseException:
        return None


def error_problems(error: BaseException) -> list[Problem]:
    """An error of Hydra, OmegaConf or YAML as faults, without its advice to add dead keys."""
    if isinstance(error, ConfigError):
        return list(error.problems)
    mark = getattr(error, "problem_mark", None)
    where = f"{mark.name}:{mark.line + 1}" if mark is not None else ""
    cause = error
    while cause.__cause__ is not None and not str(cause).strip():
        cause = cause.__cause__
    several = _SEVERAL.search(str(cause))
    if several is not None:
        return [
            Problem(
                SEVERAL,
                several[1],
                COMMAND_LINE,
                "add -m to run each of them; write key=[a,b] for a list, key='a,b' for text",
            )
        ]
    unmatched = _NO_MATCH.search(str(cause))
    if unmatched is not None:
        file, group = unmatched[1], unmatched[2]
        hint = f"write `- /{group}: OPTION`, without `override`" if file else f"add it: +{group}=OPTION"
        what = f"there is nothing to override: no file chooses an option of {group!r}"
        return [Problem(what, group, f"{file}.yaml" if file else COMMAND_LINE, hint)]
    lines = [
        line
        for line in str(cause).splitlines()
        if line.strip() and not any(word in line for word in ("use +", "set_struct", "object_type=", "full_key:"))
    ]
    return [Problem(" ".join(line.strip() for line in lines[:3]) or type(cause).__name__, where=where)]


def _unique(problems: Iterable[Problem]) -> list[Problem]:
    """Each place and finding once."""
    return list({(f.what, f.where, f.key): f for f in problems}.values())
