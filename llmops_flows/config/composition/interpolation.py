"""Interpolations resolved in plain data: references at once, whatever else there is by OmegaConf."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

_NODE = r"\$\{([A-Za-z_]\w*(?:\.\w+)*)\}"
_WHOLE = re.compile(_NODE)
_INSIDE = re.compile(_NODE)
_CALL = re.compile(r"\$\{[A-Za-z_][\w.]*:[^${}\\]*\}")
_DEEPEST = 20


class _Hard(Exception):
    """Something that only OmegaConf can resolve, or can say what is wrong with it."""


def plainly(raw: Mapping[str, Any], called: dict[str, Any] | None = None) -> dict[str, Any] | None:
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
