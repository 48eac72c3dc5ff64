"""Where a config value comes from: every file and line that set it, in order, then the overrides."""

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
from .quoting import FREE_TEXT


@dataclass(frozen=True)
class Origin:
    """One place that set a key: the file and line, or the override; the value as it is written there.

    `chosen` is the override that chose the file, if one did.
    """

    where: str
    value: str
    chosen: str = ""


def origins(key: str, composed: Composed) -> list[Origin]:
    """Every place that set a key, in the order in which they count: the last one won."""
    steps = _steps(key)
    found = []
    for file, package, chosen in composed.files:
        inside = _inside(steps, _steps(package))
        node = yaml_file.read(file).node(inside) if inside is not None else None
        if node is not None:
            found.append(Origin(f"{yaml_file.display_path(file)}:{node[1]}", _written(node[0]), chosen))
    return found + [origin for override in composed.overrides for origin in _in_override(override, steps)]


def follow(key: str, composed: Composed) -> tuple[str, str]:
    """Where a key lies if what it stands in is an interpolation, and where its value leads ("": nowhere).

    `stages.retrieve.k` lies at `retriever.k`; the value of `retriever.documents` leads to `documents`.
    """
    references = composed.references
    place: tuple[str, ...] = ()
    steps = _steps(key)
    for _ in range(20):
        for number, step in enumerate(steps):
            try:
                onward = references.target((*place, step))
            except (KeyError, IndexError, ValueError, TypeError):
                return ".".join((*place, *steps[number:])), ""
            if onward is not None and number + 1 < len(steps):
                place, steps = (), [*onward, *steps[number + 1 :]]
                break
            place = (*place, step)
        else:
            onward = references.target(place)
            return ".".join(place), ".".join(onward) if onward else ""
    return key, ""


def last_origin(key: str, composed: Composed) -> str:
    """Where a key was set last, as `file:line` or as an override; failing that, what it stands in."""
    steps = _steps(follow(key, composed)[0])
    while steps:
        inside = [o for o in composed.overrides if o.lstrip("+~").startswith(".".join(steps) + ".")]
        found = origins(".".join(steps), composed)
        if found:
            return found[-1].where
        if inside:
            return f"override {inside[-1]}"
        steps = steps[:-1]
    return ""


def _steps(key: str) -> list[str]:
    return [step for step in key.replace("[", ".").replace("]", "").split(".") if step]


def _inside(steps: list[str], package: list[str]) -> list[str] | None:
    """The steps from a package to a key within it; None when the key lies elsewhere."""
    if steps[: len(package)] != package or len(steps) <= len(package):
        return None
    return steps[len(package) :]


def _in_override(override: str, steps: list[str]) -> Iterator[Origin]:
    from .override_parser import parse_override

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
    """Free text as it was typed."""
    return str(OmegaConf.create({"text": parsed.value()})["text"])


def _written(node: Any) -> str:
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    return "{…}" if isinstance(node, yaml.MappingNode) else "[…]"


def config_keys(config: Any, prefix: str = "") -> Iterator[str]:
    """Every key of a plain config, dotted; list items by number."""
    pairs: Sequence[tuple[Any, Any]] = ()
    if isinstance(config, dict):
        pairs = list(config.items())
    elif isinstance(config, list):
        pairs = list(enumerate(config))
    for name, value in pairs:
        yield f"{prefix}{name}"
        yield from config_keys(value, f"{prefix}{name}.")


_FURTHEST = 10
"""Interpolations in a row that are followed to where a value comes from."""


def locate_problems(problems: Iterable[Problem], composed: Composed) -> list[Problem]:
    """The faults with the file and line, or the override, that set their keys. Each place is told once."""
    found: dict[tuple[str, str], Problem] = {}
    rest: list[Problem] = []
    for problem in problems:
        led = _overridden(problem, composed)
        if led is not None:
            found.setdefault((led.key, led.where), led)
        elif problem.where or not problem.key:
            rest.append(problem)
        else:
            rest.append(dataclasses.replace(problem, where=last_origin(problem.key, composed)))
    told = {(problem.key, problem.where) for problem in rest}
    return [*rest, *(problem for at, problem in found.items() if at not in told)]


def _overridden(problem: Problem, composed: Composed) -> Problem | None:
    """The fault at the override that its value comes from, where it comes from there by interpolation."""
    field, colon, rest = problem.what.partition(": ")
    named = bool(colon) and field.isidentifier()
    start, what = (f"{problem.key}.{field}", rest) if named else (problem.key, problem.what)
    key, leads = follow(start, composed)
    for _ in range(_FURTHEST):
        if not leads:
            break
        key, leads = follow(leads, composed)
    set_by = origins(key, composed) if key != start else []
    if not set_by or not set_by[-1].where.startswith("override"):
        return None
    return dataclasses.replace(problem, what=what, key=key, where=set_by[-1].where)
