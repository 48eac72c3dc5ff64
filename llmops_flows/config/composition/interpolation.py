"""Interpolations resolved in plain data: references at once, whatever else there is by OmegaConf."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from llmops_flows.core.errors import ConfigError, Problem

from ..field_errors import NO_FLOW
from ..files.groups import options

_NODE = r"\$\{([A-Za-z_]\w*(?:\.\w+)*)\}"
_WHOLE = re.compile(_NODE)
_INSIDE = re.compile(_NODE)
_CALL = re.compile(r"\$\{[A-Za-z_][\w.]*:[^${}\\]*\}")
_DEEPEST = 20


class _Hard(Exception):
    """Something that only OmegaConf can resolve, or can say what is wrong with it."""


def resolve_quickly(raw: Mapping[str, Any], called: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """`resolved` without OmegaConf; None where it takes OmegaConf to resolve something, or to say what is wrong."""
    try:
        return _Plain(raw, {} if called is None else called).all
    except _Hard:
        return None


class _Plain:
    """A config whose interpolations are looked up in itself."""

    def __init__(self, raw: Mapping[str, Any], called: dict[str, Any]) -> None:
        self.raw = raw
        self.called = called

    @property
    def all(self) -> dict[str, Any]:
        return {key: self.value(value, 0) for key, value in self.raw.items()}

    def value(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            if value == "???":
                raise _Hard
            return self.text(value, depth) if "${" in value else value
        if isinstance(value, dict):
            return {key: self.value(inner, depth) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner, depth) for inner in value]
        return value

    def text(self, text: str, depth: int) -> Any:
        if depth > _DEEPEST or "\\" in text:
            raise _Hard
        whole = _WHOLE.fullmatch(text)
        if whole:
            return self.node(whole[1], depth)
        if _CALL.fullmatch(text):
            if text not in self.called:
                self.called[text] = _called(text)
            return self.called[text]
        filled = _INSIDE.sub(lambda m: _inside(self.node(m[1], depth)), text)
        if "${" in filled:
            raise _Hard
        return filled

    def node(self, name: str, depth: int) -> Any:
        node: Any = self.raw
        for step in name.split("."):
            if isinstance(node, str) and _WHOLE.fullmatch(node):
                node = self.text(node, depth + 1)
            if not isinstance(node, Mapping) or step not in node:
                raise _Hard
            node = node[step]
        return self.value(node, depth + 1)


def _called(text: str) -> Any:
    try:
        found = OmegaConf.create({"value": text})["value"]
    except OmegaConfBaseException:
        raise _Hard from None
    if OmegaConf.is_config(found):
        raise _Hard
    return found


def _inside(value: Any) -> str:
    """A value within a text. Only texts and whole numbers are written alike by everybody."""
    if isinstance(value, str) or type(value) is int:
        return str(value)
    raise _Hard


def resolve(config: DictConfig) -> dict[str, Any]:
    """Plain data with interpolations resolved.

    Raises:
        ConfigError: with every interpolation that leads nowhere or in a circle, and every value that is missing.
    """
    found, problems = resolve_leniently(config)
    if problems:
        raise ConfigError(problems)
    return found


def resolve_leniently(config: DictConfig) -> tuple[dict[str, Any], list[Problem]]:
    """What of a config can be resolved, as plain data; and a fault for everything that cannot. `???` stays."""
    from omegaconf.errors import OmegaConfBaseException

    from .references import References

    whole = OmegaConf.to_container(config, resolve=False)
    raw: dict[str, Any] = {str(k): v for k, v in whole.items()} if isinstance(whole, dict) else {}
    problems = {path: _missing(".".join(path)) for path in _unset(raw)}
    broken = References(raw).broken
    for path in broken:
        _drop(raw, path)
    problems |= broken
    if broken:
        config = OmegaConf.create(raw)
    for _ in range(20):
        try:
            found = OmegaConf.to_container(config, resolve=True)
            return {str(k): v for k, v in found.items()} if isinstance(found, dict) else {}, list(problems.values())
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
    """The places of values that must be given: `???`."""
    if isinstance(node, Mapping):
        return [place for name, inner in node.items() for place in _unset(inner, (*path, str(name)))]
    if isinstance(node, list):
        return [place for number, inner in enumerate(node) for place in _unset(inner, (*path, str(number)))]
    return [path] if node == "???" else []


def _drop(raw: Any, path: tuple[str, ...]) -> None:
    """Take out the value at a path; in a list None stands in its place."""
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


def resolve_plain(raw: Mapping[str, Any], called: dict[str, Any] | None = None) -> dict[str, Any]:
    """A config as plain data, every interpolation replaced by its value, as OmegaConf does it but 10 times faster.

    called: what resolvers gave before, by their text; those of `raw` are added.

    Raises:
        ConfigError: an interpolation leads nowhere or in a circle, or a value is missing.
    """
    found = resolve_quickly(raw, called)
    return resolve(OmegaConf.create(dict(raw))) if found is None else found
