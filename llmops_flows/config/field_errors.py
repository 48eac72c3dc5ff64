"""pydantic's findings as faults: each at its key, with the nearest name of a field, however deep."""

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
_WORDS = {
    "tuple_type": "input should be a list: [a,b]",
    "list_type": "input should be a list: [a,b]",
    "path_type": "input should be the path of a file or folder",
}
"""What pydantic says in words of Python, in words of a config."""


def field_problems(error: ValidationError, cls: type[BaseModel], key: str, given: Mapping[str, Any]) -> list[Problem]:
    """pydantic's findings as faults. `given` are the fields of `cls` as they were given, at `key`."""
    problems: dict[str, Problem] = {}
    for found in error.errors(include_url=False):
        steps = found["loc"]
        unknown, missing = found["type"] == "extra_forbidden", found["type"] == "missing"
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
            problems[place] = Problem(_wrong(found), key=place)
    return list(problems.values())


def component_problems(cls: type[BaseModel], given: Mapping[str, Any], key: str) -> dict[str, list[Problem]]:
    """Fields that hold a component which is none, each with its faults."""
    found = {}
    for name, value in given.items():
        field = cls.model_fields.get(name)
        problems = list(_bare(list(_plain(field.annotation)), value, f"{key}.{name}")) if field is not None else []
        if problems:
            found[name] = problems
    return found


def _bare(kinds: list[Any], value: Any, key: str, beside: Sequence[str] = ()) -> Iterator[Problem]:
    if isinstance(value, Part):
        return
    if any(isinstance(kind, type) and issubclass(kind, Part) for kind in kinds):
        if isinstance(value, Mapping):
            yield not_a_component(value, key, beside)
    elif isinstance(value, (Mapping, list)):
        names = [str(name) for name in value] if isinstance(value, Mapping) else []
        for step, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            below = [found for kind in kinds for found in _below(kind, step)]
            yield from _bare(below, inner, f"{key}.{step}", [name for name in names if name != step])


def not_a_component(value: Any, key: str, beside: Sequence[str] = ()) -> Problem:
    """The fault of something that should be a component and is none; `beside` are the names it stands beside."""
    what = f"not a component: {TARGET} is missing" if isinstance(value, Mapping) else "not a component"
    if not isinstance(value, Mapping):
        hint = f"a component is a mapping with {TARGET}"
        if nearest(key.rpartition(".")[2], ["defaults"]):
            hint = f"did you mean 'defaults'? {hint}"
        return Problem(f"{what}: it is {value!r}"[:300], key=key, hint=hint)
    if not value:
        return Problem(f"{NOTHING} for {key!r}", key=key, hint=f"choose an option: {key.partition('.')[0]}=NAME")
    sibling = nearest(key.rpartition(".")[2], beside)
    if sibling:
        return Problem(what, key=key, hint=f"did you mean {sibling!r}?")
    meant = nearest(TARGET, [str(name) for name in value])
    hint = f"it has {meant!r}: did you mean {TARGET!r}?" if meant else f"name its class: {TARGET}: package.module.Class"
    return Problem(what, key=key, hint=hint)


def _wrong(found: Any) -> str:
    shown = found.get("input")
    if found["type"] == "model_type" and isinstance(shown, Part):
        role = found["ctx"]["class_name"]
        return f"must be {'an' if role[0] in 'AEIO' else 'a'} {role}, got {type(shown).__name__}"
    plain = isinstance(shown, (str, int, float, bool, type(None)))
    message = str(found["msg"]).removeprefix("Value error, ")
    message = _WORDS.get(str(found["type"]), message)
    what = message[:1].lower() + message[1:]
    return what + (f"; it is {shown!r}"[:300] if plain else "")


def _path(steps: Sequence[int | str], given: Any, *, last: bool) -> list[str]:
    """The steps that lead somewhere in what was given; pydantic adds names of union members, which mean nothing.

    `last`: the last step counts even where nothing was given.
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
    """The models that the last step is a field of (or should be), found through the annotations of the fields."""
    here: list[Any] = [cls]
    for step in steps[:-1]:
        # A step that leads nowhere is the name of a union's member.
        here = [inner for outer in here for inner in _below(outer, step)] or here
    models = [t for t in here if isinstance(t, type) and issubclass(t, BaseModel)]
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
    """The types that an annotation stands for: unions, aliases and notes taken away."""
    if hasattr(annotation, "__value__"):
        yield from _plain(annotation.__value__)
    elif get_origin(annotation) is Annotated:
        yield from _plain(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for inner in get_args(annotation):
            yield from _plain(inner)
    else:
        yield annotation
