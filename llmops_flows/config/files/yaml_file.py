"""YAML files as plain data with the line of every key: read strictly and within bounds, before Hydra sees them."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from llmops_flows.core.errors import Problem

MOST_BYTES = 262_144
MOST_NODES = 3_000
"""How many values a file may hold, every alias counted as often as it stands for something."""
DEEPEST = 40
LONGEST_NUMBER = 100
_TAG = "tag:yaml.org,2002:"
_PLAIN = {_TAG + name for name in ("str", "int", "float", "bool", "null", "map", "seq", "merge")}
_NUMBERS = (_TAG + "int", _TAG + "float")
_FLOAT = re.compile(
    r"\A(?:[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
    r"|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN))\Z"
)
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):  # type: ignore[misc]  # the C parser where there is one
    """YAML as OmegaConf reads it: no timestamps, `1e3` is a number; and keys are text, as they are written."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in found if tag not in (_TAG + "timestamp", _TAG + "float")]
        for first, found in _Safe.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
        self.flatten_mapping(node)
        return {str(key.value): self.construct_object(value, deep=True) for key, value in node.value}


_Loader.add_implicit_resolver(_TAG + "float", _FLOAT, list("-+0123456789."))
_Loader.add_constructor(_TAG + "map", lambda loader, node: loader.construct_mapping(node))


@dataclass(frozen=True)
class YamlDocument:
    """One YAML file. `data` is its plain data (empty where `faults` is not), `root` the tree with line numbers."""

    name: str
    text: str = ""
    data: Any = None
    root: Any = None
    problems: tuple[Problem, ...] = field(default=())

    def node(self, steps: list[str]) -> tuple[Node, int] | None:
        """The value that a path leads to, and the line (from 1) of its key."""
        found: Any = self.root
        line = 1
        for step in steps:
            found, line = _below(found, step)
            if found is None:
                return None
        return found, line


def read(path: Path) -> YamlDocument:
    """The page that a file holds; what is wrong with it stands in its `faults`, each with its line."""
    name = display_path(path)
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            return _bad(name, "this is no file")
        if about.st_size > MOST_BYTES:
            return _bad(name, f"this file has {about.st_size:,} bytes; a config has at most {MOST_BYTES:,}")
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _bad(name, f"this file is not UTF-8 text (byte {error.start})", hint="save it as UTF-8")
    except OSError as error:
        return _bad(name, f"this file cannot be read: {error.strerror or error}")
    return parse(text, name)


@lru_cache(maxsize=512)
def parse(text: str, name: str) -> YamlDocument:
    """The page of a YAML text. Equal texts are parsed once."""
    try:
        too_much = _measured(text, name)
        if too_much is not None:
            return YamlDocument(name, text, {}, problems=(too_much,))
        loader = _Loader(text)
        root = loader.get_single_node()
        problems = tuple(_strange(root, name)) if root is not None else ()
        if not problems and not isinstance(root, MappingNode) and root is not None:
            kind = "a list" if isinstance(root, SequenceNode) else "a single value"
            problems = (Problem(f"this file holds {kind}; a config maps names to values", where=f"{name}:1"),)
        data = loader.construct_document(root) if root is not None and not problems else {}
    except yaml.YAMLError as error:
        return YamlDocument(name, text, {}, problems=(_told(error, name, text),))
    except (ValueError, RecursionError) as error:
        return _bad(name, f"this file cannot be read: {str(error).partition(';')[0]}", text)
    return YamlDocument(name, text, {} if data is None else data, root, problems)


def display_path(path: Path) -> str:
    """A path as a person wants to read it: relative where it lies below the current folder."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _bad(name: str, what: str, text: str = "", hint: str = "") -> YamlDocument:
    return YamlDocument(name, text, {}, problems=(Problem(what, where=name, hint=hint),))


def _measured(text: str, name: str) -> Problem | None:
    """A fault if the file is too deep or, its aliases written out, too large. Reads events only: nothing is built."""
    open_anchors: list[tuple[str | None, int]] = []
    sizes: dict[str, int] = {}
    total = 0
    for event in yaml.parse(text, Loader=_Loader):
        mark = event.start_mark
        line = f"{name}:{mark.line + 1}" if mark is not None else name
        if isinstance(event, yaml.AliasEvent):
            total += sizes.get(event.anchor or "", 1)
        elif isinstance(event, yaml.NodeEvent):
            total += 1
            if isinstance(event, yaml.CollectionStartEvent):
                open_anchors.append((event.anchor, total))
                if len(open_anchors) > DEEPEST:
                    return Problem(f"nested deeper than {DEEPEST} levels", where=line)
            elif event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_anchors.pop()
            if anchor:
                sizes[anchor] = total - before + 1
        if total > MOST_NODES:
            return Problem(f"more than {MOST_NODES:,} values, aliases counted as often as they are used", where=line)
    return None


def _strange(node: Any, name: str, seen: set[int] | None = None) -> Iterator[Problem]:
    """Faults of a tree: tags that build objects, keys that stand twice, keys that are no text."""
    seen = set() if seen is None else seen
    if id(node) in seen:
        return
    seen.add(id(node))
    where = f"{name}:{node.start_mark.line + 1}"
    if node.tag not in _PLAIN:
        yield Problem(f"the tag {node.tag!r} is refused", where=where, hint="plain data only: remove the tag")
    elif node.tag in _NUMBERS and len(node.value) > LONGEST_NUMBER:
        yield Problem(f"a number of more than {LONGEST_NUMBER} characters", where=where)
    if isinstance(node, SequenceNode):
        for item in node.value:
            yield from _strange(item, name, seen)
    if not isinstance(node, MappingNode):
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, ScalarNode):
            yield Problem("a key must be text", where=f"{name}:{line}")
        elif key.value in lines:
            what = f"the key {key.value!r} stands here twice (first in line {lines[key.value]})"
            yield Problem(what, key=key.value, where=f"{name}:{line}", hint="remove one of the two")
        elif key.tag != _TAG + "merge":
            lines[key.value] = line
        yield from _strange(value, name, seen)


def _told(error: yaml.YAMLError, name: str, text: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = f"{name}:{mark.line + 1}" if mark is not None else name
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error).splitlines()[0]
    lines = text.splitlines()
    before = lines[mark.line][: mark.column + 1] if mark is not None and mark.line < len(lines) else ""
    if "tab character" in problem or ("cannot start any token" in problem and "\t" in before):
        return Problem("a tab stands where YAML wants spaces", where=where, hint="indent with spaces")
    context = str(getattr(error, "context", None) or "")
    return Problem(f"this is no YAML: {problem}" + (f" {context}" if context else ""), where=where)


def _below(node: Any, step: str) -> tuple[Any, int]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == step:
                return value, key.start_mark.line + 1
        for key, value in node.value:
            if key.tag == _TAG + "merge":
                for merged in value.value if isinstance(value, SequenceNode) else [value]:
                    found, line = _below(merged, step)
                    if found is not None:
                        return found, line
    if isinstance(node, SequenceNode) and step.isdigit() and int(step) < len(node.value):
        item = node.value[int(step)]
        return item, item.start_mark.line + 1
    return None, 0
