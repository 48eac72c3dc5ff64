"""Converts pydantic's errors to problems: each with the config key, and with the nearest name of an unknown field."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from llmops_flows.core.errors import Problem
from llmops_flows.core.stage import Part
from llmops_flows.text.suggestions import did_you_mean, nearest

TARGET = "_target_"
NO_FLOW = "no flow was chosen"
NOTHING = "no option is chosen"
MISSING = "a value is required"
_MESSAGES = {
    "tuple_type": "must be a list: [a,b]",
    "list_type": "must be a list: [a,b]",
    "path_type": "must be the path of a file or folder",
}
"""Type of a pydantic error to its message in the terms of a config."""


def field_problems(error: ValidationError, cls: type[BaseModel], key: str, given: Mapping[str, Any]) -> list[Problem]:
    """The problems that pydantic reports. `given`: the field values of `cls`, which the config has at `key`."""
    problems: dict[str, Problem] = {}
    for detail in error.errors(include_url=False):
        steps = detail["loc"]
        unknown, missing = detail["type"] == "extra_forbidden", detail["type"] == "missing"
        path = _path(steps, given, last=unknown or missing)
        place = ".".join([key, *path] if key else path)
        if place in problems:
            continue
        owner = next(iter(_owners(cls, steps)), None)
        if unknown:
            name = owner.__name__ if owner is not None else cls.__name__
            known = list(owner.model_fields) if owner is not None else []
            hint = did_you_mean(path[-1], [*known, TARGET] if owner is not None and issubclass(owner, Part) else known)
            if nearest(path[-1], ["defaults"]):
                hint = f"did you mean 'defaults'? {hint}"
            problems[place] = Problem(f"{name} has no field {path[-1]!r}", key=place, hint=hint)
        elif missing:
            problems[place] = Problem(MISSING, key=place, hint=f"{place}=VALUE")
        else:
            problems[place] = Problem(_message(detail), key=place)
    return list(problems.values())


def component_problems(cls: type[BaseModel], given: Mapping[str, Any], key: str) -> dict[str, list[Problem]]:
    """The fields that should hold components and do not, each with its problems."""
    problems = {}
    for name, value in given.items():
        field = cls.model_fields.get(name)
        if field is not None:
            problems[name] = list(_component_problems(list(_plain(field.annotation)), value, f"{key}.{name}"))
    return {name: listed for name, listed in problems.items() if listed}


def _component_problems(kinds: list[Any], value: Any, key: str, siblings: Sequence[str] = ()) -> Iterator[Problem]:
    if isinstance(value, Part):
        return
    if any(isinstance(kind, type) and issubclass(kind, Part) for kind in kinds):
        if isinstance(value, Mapping):
            yield not_a_component(value, key, siblings)
    elif isinstance(value, (Mapping, list)):
        names = [str(name) for name in value] if isinstance(value, Mapping) else []
        for step, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            inner_kinds = [inner_kind for kind in kinds for inner_kind in _below(kind, step)]
            yield from _component_problems(inner_kinds, inner, f"{key}.{step}", [n for n in names if n != step])


def not_a_component(value: Any, key: str, siblings: Sequence[str] = ()) -> Problem:
    """The problem of a value that should be a component. `siblings` are the other names in the same mapping."""
    what = f"not a component: {TARGET} is missing" if isinstance(value, Mapping) else "not a component"
    if not isinstance(value, Mapping):
        hint = f"a component is a mapping with {TARGET}"
        if nearest(key.rpartition(".")[2], ["defaults"]):
            hint = f"did you mean 'defaults'? {hint}"
        return Problem(f"{what}: {value!r}"[:300], key=key, hint=hint)
    if not value:
        return Problem(f"{NOTHING} for {key!r}", key=key, hint=f"choose an option: {key.partition('.')[0]}=NAME")
    sibling = nearest(key.rpartition(".")[2], siblings)
    if sibling:
        return Problem(what, key=key, hint=f"did you mean {sibling!r}?")
    typo = nearest(TARGET, [str(name) for name in value])
    hint = f"{typo!r}: did you mean {TARGET!r}?" if typo else f"name its class: {TARGET}: package.module.Class"
    return Problem(what, key=key, hint=hint)


def _message(detail: Any) -> str:
    """The message of a pydantic error."""
    value = detail.get("input")
    if detail["type"] == "model_type" and isinstance(value, Part):
        role = detail["ctx"]["class_name"]
        return f"must be {'an' if role[0] in 'AEIO' else 'a'} {role}, got {type(value).__name__}"
    message = _MESSAGES.get(str(detail["type"]), str(detail["msg"]).removeprefix("Value error, "))
    message = message[:1].lower() + message[1:]
    message = message.replace("input should be", "must be", 1)
    return message + (f", got {value!r}"[:300] if isinstance(value, (str, int, float, bool, type(None))) else "")


def _path(steps: Sequence[int | str], given: Any, *, last: bool) -> list[str]:
    """The steps that exist in the given values; pydantic adds names of union members.

    `last`: include the last step even if no value was given for it.
    """
    path: list[str] = []
    for number, step in enumerate(steps):
        inside = isinstance(given, Mapping) and step in given
        if inside or (isinstance(given, (list, tuple)) and isinstance(step, int) and step < len(given)):
            given = given[step]
        elif not (last and number == len(steps) - 1):
            continue
        path.append(str(step))
    return path


def _owners(cls: type[BaseModel], steps: Sequence[int | str]) -> list[type[BaseModel]]:
    """The models that have the last step as a field, or should have it, by the annotations of their fields."""
    kinds: list[Any] = [cls]
    for step in steps[:-1]:
        # A step that is not a field is the name of a union member.
        kinds = [inner for outer in kinds for inner in _below(outer, step)] or kinds
    models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return models if models or len(steps) > 1 else [cls]


def _below(outer: Any, step: int | str) -> Iterator[Any]:
    if isinstance(outer, type) and issubclass(outer, BaseModel):
        field = outer.model_fields.get(str(step))
        if field is not None:
            yield from _plain(field.annotation)
        return
    origin, inner = get_origin(outer), get_args(outer)
    if isinstance(origin, type) and issubclass(origin, Mapping) and len(inner) == 2:
        yield from _plain(inner[1])
    elif isinstance(origin, type) and issubclass(origin, Sequence) and isinstance(step, int) and inner:
        yield from _plain(inner[0])


def _plain(annotation: Any) -> Iterator[Any]:
    """The types in an annotation, with unions, aliases and metadata removed."""
    if hasattr(annotation, "__value__"):
        yield from _plain(annotation.__value__)
    elif get_origin(annotation) is Annotated:
        yield from _plain(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for inner in get_args(annotation):
            yield from _plain(inner)
    else:
        yield annotation
