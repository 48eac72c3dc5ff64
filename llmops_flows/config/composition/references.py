"""Checks interpolations before they are resolved: unknown names, cycles, and growth without bound."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from llmops_flows.core.errors import Problem
from llmops_flows.text.suggestions import did_you_mean, unknown_reference_hint

from ..files.groups import is_group, options

Path = tuple[str, ...]
MAX_TEXT = 2_000_000
MAX_VALUES = 20_000
MAX_CHAIN = 20
"""Maximum length of a chain of interpolations."""
RESOLVERS = ("flow_data", "llmops_home", "now", "hydra", "oc.env", "oc.select", "oc.decode", "oc.create",
             "oc.dict.keys", "oc.dict.values", "oc.deprecated")  # fmt: skip
_REFERENCE = re.compile(r"(?<!\\)(\\*+)\$\{\s*([.\w/\[\]-]+?)\s*\}")
_CALL = re.compile(r"(?<!\\)(\\*+)\$\{\s*([A-Za-z_][\w.]{0,80}?)\s*:")


@dataclass
class _Size:
    values: int = 1
    text: int = 0

    def add(self, other: _Size) -> None:
        self.values = min(self.values + other.values, MAX_VALUES + 1)
        self.text = min(self.text + other.text, MAX_TEXT + 1)

    @property
    def excessive(self) -> bool:
        return self.values > MAX_VALUES or self.text > MAX_TEXT


@dataclass
class References:
    """The interpolations of a config.

    Attributes:
        raw: the unresolved config as plain data.
        broken: the path of each interpolation with a problem, and the problem.
        dangers: the part of `broken` that must not be resolved: cycles, and values that grow without bound.
    """

    raw: Mapping[str, Any]
    broken: dict[Path, Problem] = field(default_factory=dict)
    dangers: dict[Path, Problem] = field(default_factory=dict)
    _sizes: dict[Path, _Size] = field(default_factory=dict)
    _open: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        total = self._size(())
        if total.excessive and not self.dangers:
            self.dangers[()] = Problem("interpolations make this config too large")
        self.broken |= self.dangers

    def target(self, path: Path) -> Path | None:
        """The path that the value at a path refers to, if the value is a single interpolation."""
        text = self._at(path)
        reference = _REFERENCE.fullmatch(text) if isinstance(text, str) else None
        return self._steps(reference[2], path) if reference and not reference[1] else None

    def _size(self, path: Path) -> _Size:
        """The size of the value at a path once it is resolved. Collects problems."""
        if path in self._sizes:
            return self._sizes[path]
        if path in self._open:
            chain = [".".join(p) for p in [*self._open[self._open.index(path) :], path]]
            self.dangers.setdefault(path, Problem(f"refers to itself: {' -> '.join(chain[:6])}", key=chain[0]))
            return _Size()
        if len(self._open) > 2 * MAX_CHAIN + 40:
            self.dangers.setdefault(path, Problem(f"more than {MAX_CHAIN} interpolations in a row", key=".".join(path)))
            return _Size()
        self._open.append(path)
        size = _Size()
        value = self._at(path)
        if isinstance(value, Mapping):
            for name in value:
                size.add(self._size((*path, str(name))))
        elif isinstance(value, list):
            for number in range(len(value)):
                size.add(self._size((*path, str(number))))
        elif isinstance(value, str):
            size.text += len(value)
            if "${" in value:
                self._follow(value, path, size)
        if size.excessive and not self.dangers:
            what = "interpolations make this value too large"
            self.dangers[path] = Problem(what, key=".".join(path))
        self._open.pop()
        self._sizes[path] = size
        return size

    def _follow(self, text: str, path: Path, size: _Size) -> None:
        for name in _calls(text):
            if name not in RESOLVERS:
                what = f"unknown resolver {name!r}"
                self.broken[path] = Problem(what, ".".join(path), hint=did_you_mean(name, RESOLVERS))
        for name in _references(text):
            steps = self._steps(name, path)
            place, missing = self._locate(steps)
            if missing is None and self._at(place) != "???":
                size.add(self._size(place))
            elif missing is None:
                self.broken[path] = Problem(f"${{{name}}} has no value", ".".join(path))
            elif missing[0]:
                what, hint = f"${{{name}}} not found: unknown key {missing[0]!r}", unknown_reference_hint(*missing)
                if not place and is_group(missing[0]):
                    what = f"${{{name}}} not found: no option of the group {missing[0]!r} is chosen"
                    hint = f"+{missing[0]}=OPTION; choose from: {', '.join(options(missing[0]))}"
                self.broken[path] = Problem(what, ".".join(path), hint=hint)

    def _steps(self, name: str, path: Path) -> Path:
        name = name.replace("[", ".").replace("]", "")
        bare = name.lstrip(".")
        up = len(name) - len(bare)
        above = path[: max(len(path) - up, 0)] if up else ()
        return (*above, *(step for step in bare.split(".") if step))

    def _locate(self, steps: Path) -> tuple[Path, tuple[str, list[str]] | None]:
        """The path that steps lead to through other interpolations; or the missing step and the known names."""
        place: Path = ()
        for _ in range(MAX_CHAIN):
            for number, step in enumerate(steps):
                node = self._at(place)
                if isinstance(node, str):
                    reference = self.target(place)
                    if reference is None:
                        return place, ("", [])  # a text, a resolver call or ???: reported at its own path
                    place, steps = (), (*reference, *steps[number:])
                    break
                known = _names(node)
                if step not in known:
                    return place, (step, known)
                place = (*place, step)
            else:
                return place, None
        return place, ("", [])

    def _at(self, path: Path) -> Any:
        node: Any = self.raw
        for step in path:
            node = node[step] if isinstance(node, Mapping) else node[int(step)]
        return node


def _names(node: Any) -> list[str]:
    if isinstance(node, Mapping):
        return [str(name) for name in node]
    return [str(number) for number in range(len(node))] if isinstance(node, list) else []


def _references(text: str) -> Iterator[str]:
    return (m[2] for m in _REFERENCE.finditer(text) if len(m[1]) % 2 == 0)


def _calls(text: str) -> Iterator[str]:
    return (m[2] for m in _CALL.finditer(text) if len(m[1]) % 2 == 0)
