"""Finds where config values and problems come from: files with lines, and overrides."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from omegaconf import OmegaConf

from llmops_flows.core.errors import Problem

from ..files import yaml_file
from .composed import Composed
from .override_parser import parse_override
from .quoting import FREE_TEXT

_MAX_CHAIN = 10
"""Maximum length of a chain of interpolations."""


@dataclass(frozen=True)
class Origin:
    """A place that sets a key.

    Attributes:
        where: `file:line`, or the override.
        value: the value as written there.
        chosen: the override that chose the file; "" if none did.
    """

    where: str
    value: str
    chosen: str = ""


def origins(key: str, composed: Composed) -> list[Origin]:
    """Every place that sets a key, in order: the last one wins."""
    steps = _steps(key)
    places = []
    for file, package, chosen in composed.files:
        inside = _inside(steps, _steps(package))
        node = yaml_file.read(file).node(inside) if inside is not None else None
        if node is not None:
            places.append(Origin(f"{yaml_file.display_path(file)}:{node[1]}", _written(node[0]), chosen))
    return places + [origin for override in composed.overrides for origin in _in_override(override, steps)]


def follow(key: str, composed: Composed) -> tuple[str, str]:
    """The key with the interpolations in its path resolved, and the key that its value refers to ("" if none).

    `stages.retrieve.k` is `retriever.k`; the value of `retriever.documents` refers to `documents`.
    """
    references = composed.references
    place: tuple[str, ...] = ()
    steps = _steps(key)
    for _ in range(20):
        for number, step in enumerate(steps):
            try:
                target = references.target((*place, step))
            except (KeyError, IndexError, ValueError, TypeError):
                return ".".join((*place, *steps[number:])), ""
            if target is not None and number + 1 < len(steps):
                place, steps = (), [*target, *steps[number + 1 :]]
                break
            place = (*place, step)
        else:
            target = references.target(place)
            return ".".join(place), ".".join(target) if target else ""
    return key, ""


def last_origin(key: str, composed: Composed) -> str:
    """Where a key, or else the mapping that contains it, was set last: `file:line`, or an override."""
    steps = _steps(follow(key, composed)[0])
    while steps:
        inside = [o for o in composed.overrides if o.lstrip("+~").startswith(".".join(steps) + ".")]
        places = origins(".".join(steps), composed)
        if places:
            return places[-1].where
        if inside:
            return f"override {inside[-1]}"
        steps = steps[:-1]
    return ""


def _steps(key: str) -> list[str]:
    return [step for step in key.replace("[", ".").replace("]", "").split(".") if step]


def _inside(steps: list[str], package: list[str]) -> list[str] | None:
    """The steps from a package to a key within it; None if the key is not within it."""
    if steps[: len(package)] != package or len(steps) <= len(package):
        return None
    return steps[len(package) :]


def _in_override(override: str, steps: list[str]) -> Iterator[Origin]:
    parsed, _ = parse_override(override)
    if parsed is None:
        return
    named = _steps(parsed.key_or_group)
    if parsed.is_delete():
        if steps[: len(named)] == named:
            yield Origin(f"override {override}", "removed")
    elif steps == named:
        text = parsed.key_or_group in FREE_TEXT
        yield Origin(f"override {parsed.key_or_group}" if text else f"override {override}",
                     _typed(parsed) if text else override.partition("=")[2])  # fmt: skip
    elif steps[: len(named)] == named and not parsed.is_sweep_override():
        value: Any = parsed.value()
        for step in steps[len(named) :]:
            if isinstance(value, dict) and step in {str(k) for k in value}:
                value = {str(k): v for k, v in value.items()}[step]
            elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
                value = value[int(step)]
            else:
                return
        yield Origin(f"override {override}", str(value))


def _typed(parsed: Any) -> str:
    """Free text as typed."""
    return str(OmegaConf.create({"text": parsed.value()})["text"])


def _written(node: Any) -> str:
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    return "{…}" if isinstance(node, yaml.MappingNode) else "[…]"


def config_keys(config: Any, prefix: str = "") -> Iterator[str]:
    """Every key of a plain config, dotted; list items by index."""
    pairs: Sequence[tuple[Any, Any]] = ()
    if isinstance(config, dict):
        pairs = list(config.items())
    elif isinstance(config, list):
        pairs = list(enumerate(config))
    for name, value in pairs:
        yield f"{prefix}{name}"
        yield from config_keys(value, f"{prefix}{name}.")


def locate_problems(problems: Iterable[Problem], composed: Composed) -> list[Problem]:
    """The problems with the file and line, or the override, that set their keys, each place once."""
    overridden: dict[tuple[str, str], Problem] = {}
    rest: list[Problem] = []
    for problem in problems:
        moved = _at_override(problem, composed)
        if moved is not None:
            overridden.setdefault((moved.key, moved.where), moved)
        elif problem.where or not problem.key:
            rest.append(problem)
        else:
            rest.append(dataclasses.replace(problem, where=last_origin(problem.key, composed)))
    places = {(problem.key, problem.where) for problem in rest}
    return [*rest, *(problem for place, problem in overridden.items() if place not in places)]


def _at_override(problem: Problem, composed: Composed) -> Problem | None:
    """The problem moved to the override that sets its value through an interpolation; None if no override does."""
    field, colon, rest = problem.what.partition(": ")
    named = bool(colon) and field.isidentifier()
    start, what = (f"{problem.key}.{field}", rest) if named else (problem.key, problem.what)
    key, target = follow(start, composed)
    for _ in range(_MAX_CHAIN):
        if not target:
            break
        key, target = follow(target, composed)
    places = origins(key, composed) if key != start else []
    if not places or not places[-1].where.startswith("override"):
        return None
    return dataclasses.replace(problem, what=what, key=key, where=places[-1].where)
