"""Where faults were caused: each with the file and line, or the override, that set its key."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING

from llmops_flows.core.errors import Problem

if TYPE_CHECKING:
    from .composed import Composed


_FURTHEST = 10
"""Interpolations in a row that are followed to where a value comes from."""


def located(problems: Iterable[Problem], composed: Composed) -> list[Problem]:
    """The faults with the file and line, or the override, that set their keys. Each place is told once."""
    from .provenance import place

    found: dict[tuple[str, str], Problem] = {}
    rest: list[Problem] = []
    for problem in problems:
        led = _overridden(problem, composed)
        if led is not None:
            found.setdefault((led.key, led.where), led)
        elif problem.where or not problem.key:
            rest.append(problem)
        else:
            rest.append(dataclasses.replace(problem, where=place(problem.key, composed)))
    told = {(problem.key, problem.where) for problem in rest}
    return [*rest, *(problem for at, problem in found.items() if at not in told)]


def _overridden(problem: Problem, composed: Composed) -> Problem | None:
    """The fault at the override that its value comes from, where it comes from there by interpolation."""
    from .provenance import followed, origins

    field, colon, rest = problem.what.partition(": ")
    named = bool(colon) and field.isidentifier()
    start, what = (f"{problem.key}.{field}", rest) if named else (problem.key, problem.what)
    key, leads = followed(start, composed)
    for _ in range(_FURTHEST):
        if not leads:
            break
        key, leads = followed(leads, composed)
    set_by = origins(key, composed) if key != start else []
    if not set_by or not set_by[-1].where.startswith("override"):
        return None
    return dataclasses.replace(problem, what=what, key=key, where=set_by[-1].where)
