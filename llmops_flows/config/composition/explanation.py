"""Explains a key of a config: its value, what set it, what was replaced, and what an interpolation refers to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.text.suggestions import did_you_mean

from .composed import Composed
from .provenance import config_keys, follow, origins

_MAX_STEPS = 10
"""Maximum length of a chain of interpolations."""


def explain(key: str, composed: Composed) -> Iterator[str]:
    """The lines of an explanation. Raises ConfigError: the config has no such key."""
    plain = composed.resolvable[0]
    known = list(dict.fromkeys([*config_keys(plain), *config_keys(composed.raw)]))
    if key not in known and not origins(key, composed):
        raise ConfigError(Problem(f"unknown key {key!r}", hint=did_you_mean(key, _siblings(key, known))))
    yield f"{key}: {_value(plain, key)}"
    place, target = follow(key, composed)
    if place != key:
        yield f"  defined at {place}"
    yield from (f"  {line}" for line in _origins(place, composed))
    for step in range(_MAX_STEPS):
        if not target:
            break
        yield f"  {'  ' * step}refers to {target}"
        place, target = follow(target, composed)
        yield from (f"  {'  ' * (step + 1)}{line}" for line in _origins(place, composed))


def _origins(key: str, composed: Composed) -> Iterator[str]:
    """A line for every place that set a key, the last (effective) one first."""
    places = origins(key, composed)
    for number, origin in enumerate(reversed(places)):
        chosen = f"   (file chosen by {origin.chosen})" if origin.chosen else ""
        yield f"{'replaced' if number else 'set by  '}  {origin.where}  {origin.value}{chosen}"
    if not places:
        yield "not set as a whole: explain the keys below it"


def _value(plain: Any, key: str) -> Any:
    """The value of a key; a group of keys as YAML."""
    for step in key.split("."):
        if isinstance(plain, dict) and step in plain:
            plain = plain[step]
        elif isinstance(plain, list) and step.isdigit() and int(step) < len(plain):
            plain = plain[int(step)]
        else:
            return "(not in the config)"
    if isinstance(plain, (dict, list)) and plain:
        return "\n" + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, indent=2).rstrip()
    return plain


def _siblings(key: str, known: Sequence[str]) -> list[str]:
    """The known keys with the same parent as `key`, or the top-level keys if it has no known sibling."""
    depth, parent = key.count("."), key.rpartition(".")[0]
    siblings = [name for name in known if name.count(".") == depth and name.rpartition(".")[0] == parent]
    return siblings or [name for name in known if "." not in name]
