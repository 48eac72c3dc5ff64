"""Overrides that decide nothing: they choose or set a part that nothing in the flow takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compose import Composed

PARTS = ("model", "embedder", "splitter", "retriever", "narrow", "prompt", "guardrail")
"""Groups whose part runs only where a stage, an evaluator or another part takes it by interpolation."""

_NAMED = re.compile(r"\$\{\.*([A-Za-z_]\w*)")


def idle(composed: Composed) -> list[str]:
    """A sentence for each override of a part that nothing takes, in the order of the overrides.

    Example: "guardrail=strict decides nothing: nothing in the flow takes ${guardrail}".
    """
    if not composed.raw.get("stages"):
        return []
    taken = _taken(composed.raw)
    found = []
    for override in composed.overrides:
        part = re.split(r"[=.@]", override.lstrip("+~"), maxsplit=1)[0]
        if part in PARTS and part not in taken:
            found.append(f"{override} decides nothing: nothing in the flow takes ${{{part}}}")
    return found


def _taken(raw: dict[str, Any]) -> set[str]:
    """The parts that are reached from what runs."""
    open_ = [name for name in raw if name not in PARTS]
    seen = set(open_)
    while open_:
        for text in _texts(raw.get(open_.pop())):
            new = set(_NAMED.findall(text)) - seen
            seen |= new
            open_ += new
    return seen


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, (dict, list)):
        for inner in node.values() if isinstance(node, dict) else node:
            yield from _texts(inner)
