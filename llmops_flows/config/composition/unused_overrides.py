"""Overrides that decide nothing: they choose or set a part that nothing in the flow takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from llmops_flows.core.errors import Problem
from llmops_flows.text.suggestions import did_you_mean

from ..field_errors import TARGET

if TYPE_CHECKING:
    from .composed import Composed

PARTS = ("model", "embedder", "splitter", "retriever", "reranker", "prompt", "guardrail")
"""Groups whose part runs only where a stage, an evaluator or another part takes it by interpolation."""

_NAMED = re.compile(r"\$\{\.*([A-Za-z_]\w*)")


def unused_override_warnings(composed: Composed) -> list[str]:
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


def unused_part_problems(composed: Composed) -> list[Problem]:
    """A fault for each override that adds a part to a set of them (`+guardrail.contxt.on=…`) and nobody takes it."""
    raw, found = composed.raw, []
    texts = " ".join(_texts(raw)) if raw.get("stages") else ""
    for override in composed.overrides if texts else ():
        group, _, rest = override.lstrip("+").partition("=")[0].partition(".")
        name, held = rest.partition(".")[0], raw.get(group)
        if not (override.startswith("+") and name and group in PARTS and isinstance(held, dict)) or TARGET in held:
            continue
        if not re.search(rf"\$\{{\.*{group}(\.{re.escape(name)}[.}}]|\}})", texts):
            hint = did_you_mean(name, [known for known in held if known != name])
            what, key = f"nothing in the flow takes '{group}.{name}'", f"{group}.{name}"
            found.append(Problem(what, key, f"override {override}", hint))
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
