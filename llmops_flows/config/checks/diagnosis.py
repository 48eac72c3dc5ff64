"""Finds every problem of overrides and files after composing failed, each with its location and the nearest name."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import Any

from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.text.suggestions import did_you_mean

from ..composition.composed import compose_with
from ..composition.defaults_list import entry_problems, groups, option_problem, options
from ..composition.hydra_loader import HydraConfigLoader, hydra_problems
from ..composition.override_parser import COMMAND_LINE, parse_override
from ..field_errors import MISSING, NO_FLOW, NOTHING
from ..files.paths import ROOT

SEVERAL = "several values are given for a single run"
_SEVERAL = re.compile(r"(?:Ambiguous value for argument|Sweep parameters) '(.+)'")
_UNMATCHED = re.compile(r"(?:In '(.+?)': )?Could not override '(.+?)'")
_FOLLOWING = ("not a component", MISSING, NOTHING, NO_FLOW, "${")
"""Beginnings of messages of problems that may only follow from an unreadable file."""
FAILURES = (HydraException, OmegaConfBaseException, YAMLError, ConfigError, ValueError, TypeError, AssertionError)
"""What composing raises for a wrong config. Hydra checks some of it with `assert`."""


def diagnose(
    loader: HydraConfigLoader,
    overrides: Sequence[str],
    error: BaseException,
    *,
    owner: bool = False,
    several: bool = False,
) -> list[Problem]:
    """Every problem of the overrides, the files and the components; those of `error` if no other is found.

    Args:
        owner: whether overrides may set `hydra.*`.
        several: whether a key may have several values, as in a sweep.
    """
    problems = refused_overrides(overrides, owner=owner)
    if problems:
        overrides = [o for o in overrides if not hydra_problems([o], owner=owner)]
    readable, unreadable = _parse(overrides, several)
    problems += unreadable
    loader.strict = False
    chosen: dict[str, Any] = {}
    choices, keys = [], []
    for text, parsed in readable:
        if not _chooses_option(loader, parsed):
            keys.append((text, parsed))
            continue
        unknown = _option_problems(loader, parsed)
        problems += unknown
        if not unknown:
            choices.append(text)
            chosen[parsed.key_or_group] = parsed.value() if not parsed.is_sweep_override() else None
    problems += entry_problems(loader, chosen)
    config, failure = _try(loader, choices)
    problems += loader.file_problems
    if config is not None:
        valid_keys = []
        for text, parsed in keys:
            unknown = _key_problems(config, groups(loader), parsed)
            problems += unknown
            valid_keys += [] if unknown else [text]
        no_flow = any(problem.key.startswith("flow=") for problem in problems)
        rest = _build_problems(loader, [*choices, *valid_keys], valid_keys, problems)
        problems += [problem for problem in rest if not (no_flow and problem.what == NO_FLOW)]
    elif failure is not None and not problems:
        error = failure
    problems = [problem for problem in _unique(problems) if not (several and problem.what == SEVERAL)]
    return problems or error_problems(error)


def refused_overrides(overrides: Sequence[str], *, owner: bool) -> list[Problem]:
    """Problems of overrides that Hydra would accept: those that set `hydra.*`, and a second flow."""
    flows = [o for o in overrides if o.lstrip("+").startswith("flow=")]
    repeated = Problem(f"flow is given {len(flows)} times: {' '.join(flows)}", "flow", COMMAND_LINE, "keep one of them")
    return hydra_problems(overrides, owner=owner) + ([repeated] if len(flows) > 1 else [])


def _build_problems(
    loader: HydraConfigLoader, overrides: list[str], keys: list[str], known: list[Problem]
) -> list[Problem]:
    """Problems of the config that the valid overrides describe."""
    from ..experiment import build_experiment

    try:
        composed = compose_with(loader, overrides)
    except FAILURES as error:
        separate = [problem for key in keys for problem in _override_problems(loader, overrides, keys, key)]
        return separate or ([] if known else error_problems(error))
    unreadable = any(problems for folder in loader.folders() for problems in folder.problems.values())
    try:
        build_experiment(composed)
    except ConfigError as error:
        # A file that cannot be read counts as empty. The problems that follow from this are left out.
        dropped = any(folder.dropped for folder in loader.folders())
        problems = [p for p in error.problems if not (dropped and p.what.startswith(NOTHING))]
        return [p for p in problems if not (unreadable and p.what.startswith(_FOLLOWING))]
    return []


def _override_problems(loader: HydraConfigLoader, overrides: list[str], keys: list[str], key: str) -> list[Problem]:
    """The problems of one override, composed with the chosen options and without the other overrides."""
    _, failure = _try(loader, [*(o for o in overrides if o not in keys), key])
    problems = error_problems(failure) if failure is not None else []
    return [dataclasses.replace(problem, key=problem.key or key, where=COMMAND_LINE) for problem in problems]


def _parse(overrides: Sequence[str], several: bool) -> tuple[list[tuple[str, Any]], list[Problem]]:
    """The readable overrides as text and parsed, and the problems of the others.

    The text of an override with `several` values has the first of them.
    """
    readable, problems = [], []
    for text in overrides:
        parsed, problem = parse_override(text)
        if problem is not None:
            problems.append(problem)
        elif several and parsed.is_discrete_sweep():
            readable.append((f"{parsed.get_key_element()}={next(parsed.sweep_string_iterator())}", parsed))
        else:
            readable.append((text, parsed))
    return readable, problems


def _chooses_option(loader: HydraConfigLoader, parsed: Any) -> bool:
    return bool(parsed.key_or_group) and bool(loader.repository.group_exists(parsed.key_or_group))


def _option_problems(loader: HydraConfigLoader, parsed: Any) -> list[Problem]:
    """A problem for every unknown option that an override chooses."""
    group = parsed.key_or_group
    values: Any
    if parsed.is_sweep_override():
        values = [getattr(v, "text", v) for v in parsed.sweep_iterator()] if parsed.is_discrete_sweep() else []
    elif parsed.is_delete() and parsed.value() in (None, ""):
        return []
    else:
        values = parsed.value()
    known = options(loader, group)
    hint = did_you_mean("", known)
    if values == "" or (values is None and group == "flow"):
        return [Problem(f"no option of {group} is given", f"{group}=", COMMAND_LINE, hint)]
    if not isinstance(values, (str, list)):
        hint = f"{group}=none switches it off; {hint}" if "none" in known else hint
        return [Problem(f"{values!r} is not an option of {group}", parsed.input_line, COMMAND_LINE, hint)]
    problems = []
    for name in values if isinstance(values, list) else [values]:
        key = f"{group}={name}"
        if not isinstance(name, str):
            problems.append(Problem(f"{name!r} is not an option of {group}", key, COMMAND_LINE, hint))
        elif not loader.repository.config_exists(f"{group}/{name}"):
            problems.append(option_problem(loader, group, name, where=COMMAND_LINE, key=key))
    return problems


def _try(loader: HydraConfigLoader, overrides: Sequence[str]) -> tuple[DictConfig | None, BaseException | None]:
    """The config of these overrides, or the error of composing them."""
    try:
        return loader.load_configuration(ROOT, list(overrides), RunMode.RUN, from_shell=False), None
    except FAILURES as error:
        return None, error


def _key_problems(config: DictConfig, known_groups: Iterable[str], parsed: Any) -> list[Problem]:
    """A problem if the key of an override is unknown, even with `+`: no component would read it."""
    key = parsed.key_or_group
    steps = [step for step in key.replace("[", ".").replace("]", "").split(".") if step]
    if not steps:
        return [Problem("the key before = is missing", parsed.input_line, COMMAND_LINE, "write key=value")]
    node: Any = config
    for depth, name in enumerate(steps):
        known = _keys(node)
        if name not in known:
            if depth and (parsed.is_add() or parsed.is_force_add()):
                return []  # a field that the file leaves out; the builder reports unknown fields
            choices = [n for n in known if n != "hydra"] + ([] if depth else list(known_groups))
            parent = f" in {'.'.join(steps[:depth])!r}" if depth else ""
            sweep_hint = "sweep.* is for sweeps: add -m"
            hint = sweep_hint if key.startswith("sweep.") else did_you_mean(name, dict.fromkeys(choices))
            return [Problem(f"unknown key {name!r}{parent}", key=key, where=COMMAND_LINE, hint=hint)]
        try:
            node = OmegaConf.select(node, name)
        except OmegaConfBaseException:
            node = None
    return []


def _keys(node: Any) -> list[str]:
    """The keys of a config node; of a list its indexes."""
    if not isinstance(node, (DictConfig, ListConfig)) or node._is_none() or node._is_missing():
        return []
    return [str(key) for key in (node if isinstance(node, DictConfig) else range(len(node)))]


def error_problems(error: BaseException) -> list[Problem]:
    """The problems of an error of Hydra, OmegaConf or YAML, without its advice to add keys that nothing reads."""
    if isinstance(error, ConfigError):
        return list(error.problems)
    mark = getattr(error, "problem_mark", None)
    where = f"{mark.name}:{mark.line + 1}" if mark is not None else ""
    cause = error
    while cause.__cause__ is not None and not str(cause).strip():
        cause = cause.__cause__
    several = _SEVERAL.search(str(cause))
    if several is not None:
        hint = "add -m to run each of them; write key=[a,b] for a list, key='a,b' for text"
        return [Problem(SEVERAL, several[1], COMMAND_LINE, hint)]
    unmatched = _UNMATCHED.search(str(cause))
    if unmatched is not None:
        file, group = unmatched[1], unmatched[2]
        hint = f"write `- /{group}: OPTION`, without `override`" if file else f"add it: +{group}=OPTION"
        what = f"nothing to override: no defaults list chooses from the group {group!r}"
        return [Problem(what, group, f"{file}.yaml" if file else COMMAND_LINE, hint)]
    lines = [
        line
        for line in str(cause).splitlines()
        if line.strip() and not any(word in line for word in ("use +", "set_struct", "object_type=", "full_key:"))
    ]
    return [Problem(" ".join(line.strip() for line in lines[:3]) or type(cause).__name__, where=where)]


def _unique(problems: Iterable[Problem]) -> list[Problem]:
    """One problem for each place and message."""
    return list({(problem.what, problem.where, problem.key): problem for problem in problems}.values())
