"""Typing mistakes in every key and option name of the shipped conf/, and what becomes of each."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from llmops_flows.config.files.paths import data_dir

CONF = data_dir("conf")
LETTERS = string.ascii_lowercase + "_"


@dataclass(frozen=True)
class Word:
    """A key or an option name in a file: where it stands, and what else could stand there."""

    file: Path
    start: int
    name: str
    kind: str  # "key", "group", "option"

    def changed(self, name: str) -> str:
        """The file's text with another name in this place."""
        text = (CONF / self.file).read_text(encoding="utf-8")
        return text[: self.start] + name + text[self.start + len(self.name) :]

    def line(self) -> int:
        return (CONF / self.file).read_text(encoding="utf-8")[: self.start].count("\n") + 1


def words() -> list[Word]:
    """Every key, group and option name of the shipped files."""
    return [word for path in sorted(CONF.rglob("*.yaml")) for word in _words(path)]


def _words(path: Path) -> Iterator[Word]:
    text = path.read_text(encoding="utf-8")
    root = yaml.compose(text)
    name = path.relative_to(CONF)

    def visit(node: yaml.Node | None, inside: tuple[str, ...]) -> Iterator[Word]:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                yield Word(name, _offset(text, key), key.value, "key")
                if (*inside, key.value) == ("defaults",):
                    yield from _entries(text, name, value)
                else:
                    yield from visit(value, (*inside, key.value))
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                yield from visit(item, (*inside, "-"))

    yield from visit(root, ())


def _entries(text: str, name: Path, listed: yaml.Node) -> Iterator[Word]:
    for item in listed.value:
        if isinstance(item, yaml.MappingNode):
            [(key, value)] = item.value
            for match in re.finditer(r"[A-Za-z_]+", key.value):
                yield Word(name, _offset(text, key) + match.start(), match[0], "group")
            if value.tag.endswith(":str"):
                yield Word(name, _offset(text, value), value.value, "option")
        else:
            found = item.value.partition("@")[0]
            yield Word(name, _offset(text, item), found, "option")


def _offset(text: str, node: yaml.Node) -> int:
    start = node.start_mark.index
    return start + (text[start] in "\"'")


def slips(name: str, chance: random.Random | None = None, count: int = 0) -> list[str]:
    """Names that one slip of the finger makes of `name`: a letter missing, doubled, wrong, or swapped with the next.

    With `chance`, a sample of `count` of them; else all.
    """
    found = set()
    for n, letter in enumerate(name):
        if not letter.isalnum() and letter != "_":
            continue
        found |= {name[:n] + name[n + 1 :], name[:n] + letter + name[n:]}
        wrong = LETTERS if chance is None else chance.choice(LETTERS)
        if len(name) > 1:  # of a single letter that is wrong, nothing is left to be recognized by
            found |= {name[:n] + other + name[n + 1 :] for other in wrong}
        if n + 1 < len(name) and name[n + 1] not in "/@":
            found.add(name[:n] + name[n + 1] + letter + name[n + 2 :])
    found -= {name, ""}
    ordered = sorted(found)
    return ordered if chance is None else chance.sample(ordered, min(count, len(ordered)))
