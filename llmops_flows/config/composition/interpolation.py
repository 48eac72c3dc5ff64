"""Resolve the interpolations of a config: simple ones by lookup in plain data, all others with OmegaConf."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from llmops_flows.core.errors import ConfigError, Problem

from ..field_errors import NO_FLOW
from ..files.groups import options
from .references import References

_REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*(?:\.\w+)*)\}")
_RESOLVER_CALL = re.compile(r"\$\{[A-Za-z_][\w.]*:[^${}\\]*\}")
_MAX_DEPTH = 20
_MAX_FAILURES = 20


class _NeedsOmegaConf(Exception):
    """Only OmegaConf can resolve this, or report its problem."""


def resolve_plain(raw: Mapping[str, Any], resolved_calls: dict[str, Any] | None = None) -> dict[str, Any]:
    """A config as plain data with interpolations resolved, as OmegaConf does it but 10 times faster.

    Args:
        resolved_calls: cache of resolver calls by their text, which this call extends.

    Raises:
        ConfigError: an interpolation cannot be resolved, or a value is missing.
    """
    resolved = resolve_quickly(raw, resolved_calls)
    return resolve(OmegaConf.create(dict(raw))) if resolved is None else resolved


def resolve_quickly(raw: Mapping[str, Any], resolved_calls: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """`resolve_plain` without OmegaConf; None if only OmegaConf can resolve the config or report its problems."""
    resolver = _PlainResolver(raw, {} if resolved_calls is None else resolved_calls)
    try:
        return {key: resolver.value(value, 0) for key, value in raw.items()}
    except _NeedsOmegaConf:
        return None


class _PlainResolver:
    """Looks interpolations up in the plain data of the config itself."""

    def __init__(self, raw: Mapping[str, Any], resolved_calls: dict[str, Any]) -> None:
        self.raw = raw
        self.resolved_calls = resolved_calls

    def value(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            if value == "???":
                raise _NeedsOmegaConf
            return self.text(value, depth) if "${" in value else value
        if isinstance(value, dict):
            return {key: self.value(inner, depth) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner, depth) for inner in value]
        return value

    def text(self, text: str, depth: int) -> Any:
        if depth > _MAX_DEPTH or "\\" in text:
            raise _NeedsOmegaConf
        reference = _REFERENCE.fullmatch(text)
        if reference:
            return self.node(reference[1], depth)
        if _RESOLVER_CALL.fullmatch(text):
            if text not in self.resolved_calls:
                self.resolved_calls[text] = _call_resolver(text)
            return self.resolved_calls[text]
        resolved = _REFERENCE.sub(lambda match: _as_text(self.node(match[1], depth)), text)
        if "${" in resolved:
            raise _NeedsOmegaConf
        return resolved

    def node(self, name: str, depth: int) -> Any:
        node: Any = self.raw
        for step in name.split("."):
            if isinstance(node, str) and _REFERENCE.fullmatch(node):
                node = self.text(node, depth + 1)
            if not isinstance(node, Mapping) or step not in node:
                raise _NeedsOmegaConf
            node = node[step]
        return self.value(node, depth + 1)


def _call_resolver(text: str) -> Any:
    try:
        value = OmegaConf.create({"value": text})["value"]
    except OmegaConfBaseException:
        raise _NeedsOmegaConf from None
    if OmegaConf.is_config(value):
        raise _NeedsOmegaConf
    return value


def _as_text(value: Any) -> str:
    """A value inside a text. Python and OmegaConf format only strings and integers in the same way."""
    if isinstance(value, str) or type(value) is int:
        return str(value)
    raise _NeedsOmegaConf


def to_plain(config: DictConfig, *, resolve: bool) -> dict[str, Any]:
    """A config as plain data. Raises OmegaConfBaseException if an interpolation cannot be resolved."""
    plain = OmegaConf.to_container(config, resolve=resolve)
    return {str(key): value for key, value in plain.items()} if isinstance(plain, dict) else {}


def resolve(config: DictConfig) -> dict[str, Any]:
    """A config as plain data with interpolations resolved.

    Raises:
        ConfigError: with every interpolation that cannot be resolved, and every value that is missing.
    """
    resolved, problems = resolve_leniently(config)
    if problems:
        raise ConfigError(problems)
    return resolved


def resolve_leniently(config: DictConfig) -> tuple[dict[str, Any], list[Problem]]:
    """What can be resolved of a config, as plain data, and a problem for everything else. `???` stays."""
    raw = to_plain(config, resolve=False)
    problems = {path: _missing(".".join(path)) for path in _unset(raw)}
    broken = References(raw).broken
    for path in broken:
        _drop(raw, path)
    problems |= broken
    if broken:
        config = OmegaConf.create(raw)
    for _ in range(_MAX_FAILURES):
        try:
            return to_plain(config, resolve=True), list(problems.values())
        except (OmegaConfBaseException, RecursionError, ValueError) as error:
            key = str(getattr(error, "full_key", "") or "")
            what = f"an interpolation cannot be resolved: {(str(error).splitlines() or [''])[0]}"
            path = tuple(key.replace("[", ".").replace("]", "").split("."))
            if path in problems or not key:
                return {}, [*problems.values(), Problem(what, key=key)]
            problems[path] = Problem(what, key=key)
            _drop(raw, path)
            config = OmegaConf.create(raw)
    return {}, list(problems.values())


def _unset(node: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths of values that are required and missing: `???`."""
    if isinstance(node, Mapping):
        return [unset for name, inner in node.items() for unset in _unset(inner, (*path, str(name)))]
    if isinstance(node, list):
        return [unset for number, inner in enumerate(node) for unset in _unset(inner, (*path, str(number)))]
    return [path] if node == "???" else []


def _drop(raw: Any, path: tuple[str, ...]) -> None:
    """Remove the value at a path; in a list None replaces it."""
    for step in path[:-1]:
        raw = raw.get(step) if isinstance(raw, dict) else raw[int(step)] if isinstance(raw, list) else None
    if isinstance(raw, dict) and path:
        raw.pop(path[-1], None)
    elif isinstance(raw, list) and path and path[-1].isdigit() and int(path[-1]) < len(raw):
        raw[int(path[-1])] = None


def _missing(key: str) -> Problem:
    if key == "name":
        return Problem(NO_FLOW, hint=f"add flow=NAME; choose from: {', '.join(options('flow'))}")
    return Problem("a value is required", key=key, hint=f"{key}=VALUE")
