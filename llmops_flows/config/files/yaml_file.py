"""Reads YAML files strictly and within limits, as plain data with the line of every key, before Hydra does."""

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

MAX_BYTES = 262_144
MAX_NODES = 3_000
"""Maximum number of values in a file, with every alias expanded."""
MAX_DEPTH = 40
MAX_NUMBER_CHARS = 100
_TAG = "tag:yaml.org,2002:"
_PLAIN = {_TAG + name for name in ("str", "int", "float", "bool", "null", "map", "seq", "merge")}
_NUMBERS = (_TAG + "int", _TAG + "float")
_FLOAT = re.compile(
    r"\A(?:[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
    r"|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN))\Z"
)
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):  # type: ignore[misc]  # the C parser if available
    """YAML as OmegaConf reads it: no timestamps, `1e3` is a number. Keys are text, as written."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_TAG + "timestamp", _TAG + "float")]
        for first, resolvers in _Safe.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
        self.flatten_mapping(node)
        return {str(key.value): self.construct_object(value, deep=True) for key, value in node.value}


_Loader.add_implicit_resolver(_TAG + "float", _FLOAT, list("-+0123456789."))
_Loader.add_constructor(_TAG + "map", lambda loader, node: loader.construct_mapping(node))


@dataclass(frozen=True)
class YamlDocument:
    """A YAML file. `data` is its plain data, empty if there are problems; `root` is the tree with line numbers."""

    name: str
    text: str = ""
    data: Any = None
    root: Any = None
    problems: tuple[Problem, ...] = field(default=())

    def node(self, steps: list[str]) -> tuple[Node, int] | None:
        """The value at a path, and the line (from 1) of its key."""
        node: Any = self.root
        line = 1
        for step in steps:
            node, line = _below(node, step)
            if node is None:
                return None
        return node, line


def read(path: Path) -> YamlDocument:
    """The document in a file. Its `problems` have lines."""
    name = display_path(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return _bad(name, "not a regular file")
        if status.st_size > MAX_BYTES:
            return _bad(name, f"the file has {status.st_size:,} bytes, at most {MAX_BYTES:,} are allowed")
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _bad(name, f"the file is not UTF-8 text (byte {error.start})", hint="save it as UTF-8")
    except OSError as error:
        return _bad(name, f"the file cannot be read: {error.strerror or error}")
    return parse(text, name)


@lru_cache(maxsize=512)
def parse(text: str, name: str) -> YamlDocument:
    """The document of a YAML text. Equal texts are parsed once."""
    try:
        excess = _excess(text, name)
        if excess is not None:
            return YamlDocument(name, text, {}, problems=(excess,))
        loader = _Loader(text)
        root = loader.get_single_node()
        problems = tuple(_node_problems(root, name)) if root is not None else ()
        if not problems and not isinstance(root, MappingNode) and root is not None:
            kind = "a list" if isinstance(root, SequenceNode) else "a single value"
            problems = (Problem(f"the file must map names to values, got {kind}", where=f"{name}:1"),)
        data = loader.construct_document(root) if root is not None and not problems else {}
    except yaml.YAMLError as error:
        return YamlDocument(name, text, {}, problems=(_syntax_problem(error, name, text),))
    except (ValueError, RecursionError) as error:
        return _bad(name, f"the file cannot be read: {str(error).partition(';')[0]}", text)
    return YamlDocument(name, text, {} if data is None else data, root, problems)


def display_path(path: Path) -> str:
    """A path for messages: relative if it is below the current folder."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _bad(name: str, what: str, text: str = "", hint: str = "") -> YamlDocument:
    return YamlDocument(name, text, {}, problems=(Problem(what, where=name, hint=hint),))


def _excess(text: str, name: str) -> Problem | None:
    """A problem if the file is nested too deep or, with its aliases expanded, too large. Builds no data."""
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
                if len(open_anchors) > MAX_DEPTH:
                    return Problem(f"nested deeper than {MAX_DEPTH} levels", where=line)
            elif event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_anchors.pop()
            if anchor:
                sizes[anchor] = total - before + 1
        if total > MAX_NODES:
            return Problem(f"more than {MAX_NODES:,} values, expanded aliases included", where=line)
    return None


def _node_problems(node: Any, name: str, seen: set[int] | None = None) -> Iterator[Problem]:
    """Problems of a tree: tags that build objects, repeated keys, keys that are not text."""
    seen = set() if seen is None else seen
    if id(node) in seen:
        return
    seen.add(id(node))
    where = f"{name}:{node.start_mark.line + 1}"
    if node.tag not in _PLAIN:
        yield Problem(
            f"the tag {node.tag!r} is not allowed", where=where, hint="remove the tag: a config is plain data"
        )
    elif node.tag in _NUMBERS and len(node.value) > MAX_NUMBER_CHARS:
        yield Problem(f"a number of more than {MAX_NUMBER_CHARS} characters", where=where)
    if isinstance(node, SequenceNode):
        for item in node.value:
            yield from _node_problems(item, name, seen)
    if not isinstance(node, MappingNode):
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, ScalarNode):
            yield Problem("a key must be text", where=f"{name}:{line}")
        elif key.value in lines:
            what = f"the key {key.value!r} is repeated (first in line {lines[key.value]})"
            yield Problem(what, key=key.value, where=f"{name}:{line}", hint="remove one of them")
        elif key.tag != _TAG + "merge":
            lines[key.value] = line
        yield from _node_problems(value, name, seen)


def _syntax_problem(error: yaml.YAMLError, name: str, text: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = f"{name}:{mark.line + 1}" if mark is not None else name
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error).splitlines()[0]
    lines = text.splitlines()
    before = lines[mark.line][: mark.column + 1] if mark is not None and mark.line < len(lines) else ""
    if "tab character" in problem or ("cannot start any token" in problem and "\t" in before):
        return Problem("a tab is used for indentation", where=where, hint="indent with spaces")
    context = str(getattr(error, "context", None) or "")
    return Problem(f"invalid YAML: {problem}" + (f" {context}" if context else ""), where=where)


def _below(node: Any, step: str) -> tuple[Any, int]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == step:
                return value, key.start_mark.line + 1
        for key, value in node.value:
            if key.tag == _TAG + "merge":
                for merged in value.value if isinstance(value, SequenceNode) else [value]:
                    inner, line = _below(merged, step)
                    if inner is not None:
                        return inner, line
    if isinstance(node, SequenceNode) and step.isdigit() and int(step) < len(node.value):
        item = node.value[int(step)]
        return item, item.start_mark.line + 1
    return None, 0
