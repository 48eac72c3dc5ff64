"""Overrides that have no effect: they choose or set a component that nothing uses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from llmops_flows.core.errors import Problem
from llmops_flows.text.suggestions import did_you_mean

from ..field_errors import TARGET

if TYPE_CHECKING:
    from .composed import Composed

_ALWAYS_USED = ("stages", "evaluator", "tracer", "cache", "store")
_REFERENCE = re.compile(r"\$\{\.*([A-Za-z_]\w*)")


def unused_override_warnings(composed: Composed) -> list[str]:
    """A warning for each override of a component that nothing uses, in the order of the overrides.

    Example: "guardrail=strict has no effect: nothing in the flow uses ${guardrail}".
    """
    if not composed.raw.get("stages"):
        return []
    used = _used_keys(composed.raw)
    warnings = []
    for override in composed.overrides:
        name = re.split(r"[=.]", override.lstrip("+~"), maxsplit=1)[0]
        key = name.rpartition("@")[2].removeprefix("_global_.")
        if key not in used and _holds_components(key, composed.raw):
            warnings.append(f"{override} has no effect: nothing in the flow uses ${{{key}}}")
    return warnings


def unused_part_problems(composed: Composed) -> list[Problem]:
    """A problem for each override that adds a component to a set (`+guardrail.contxt.on=…`) if nothing uses it."""
    raw, problems = composed.raw, []
    texts = " ".join(_texts(raw)) if raw.get("stages") else ""
    for override in composed.overrides if texts else ():
        group, _, rest = override.lstrip("+").partition("=")[0].partition(".")
        name = rest.partition(".")[0]
        if not (override.startswith("+") and name and _holds_components(group, raw)) or TARGET in raw[group]:
            continue
        if not re.search(rf"\$\{{\.*{group}(\.{re.escape(name)}[.}}]|\}})", texts):
            hint = did_you_mean(name, [sibling for sibling in raw[group] if sibling != name])
            what, key = f"nothing in the flow uses '{group}.{name}'", f"{group}.{name}"
            problems.append(Problem(what, key, f"override {override}", hint))
    return problems


def _holds_components(key: str, raw: Mapping[str, Any]) -> bool:
    """Whether a key holds components that run only where something refers to them (`${retriever}`)."""
    value = raw.get(key)
    if key in _ALWAYS_USED or not isinstance(value, Mapping):
        return False
    return TARGET in value or any(isinstance(inner, Mapping) and TARGET in inner for inner in value.values())


def _used_keys(raw: Mapping[str, Any]) -> set[str]:
    """The top-level keys that running components use, directly or through other keys."""
    pending = [key for key in raw if not _holds_components(key, raw)]
    used = set(pending)
    while pending:
        for text in _texts(raw.get(pending.pop())):
            new = set(_REFERENCE.findall(text)) - used
            used |= new
            pending += new
    return used


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, (dict, list)):
        for inner in node.values() if isinstance(node, dict) else node:
            yield from _texts(inner)
