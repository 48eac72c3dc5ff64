"""An option of the group `flow` in the making: its text, what it gives, and in what that is not what is wanted."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from llmops_flows.components.cache.none import is_no_cache
from llmops_flows.core.redaction import redact_value

from ..compose import compose
from ..composition.composed import Composed
from ..files import paths

Values = dict[str, Any]
APART = ("home", "store", "tracer", "tags", "question", "tenant", "trust", "budget")
"""Keys that belong to a run or to a machine, not to a flow."""


class Reference(str):
    """An interpolation that is meant as one."""


@dataclass(frozen=True)
class FlowFile:
    """A flow file.

    Attributes:
        base: the flow that it extends.
        chosen: group to option, in place of the base's.
        added: group to option, for groups that the base does not choose from.
        values: the values that it sets.
    """

    name: str
    base: str
    chosen: Mapping[str, str]
    added: Mapping[str, str]
    values: Mapping[str, Any] = field(default_factory=dict)

    def text(self, comments: Iterable[str] = ()) -> str:
        """What stands in the file."""
        told = ("".join(c for c in " ".join(line.split()) if c.isprintable()) for line in comments)
        lines = ["# @package _global_", *(f"# {line}" for line in told), "defaults:", f"  - {self.base}"]
        lines += [f"  - /{group}: {option}" for group, option in sorted(self.added.items())]
        lines += [f"  - override /{group}: {option}" for group, option in sorted(self.chosen.items())]
        return "\n".join([*lines, "  - _self_", "", _yaml({"name": self.name, **self.values})])

    def composed(self) -> Composed:
        """What the file gives, composed from a folder that comes before all others."""
        with tempfile.TemporaryDirectory() as folder, _first(Path(folder)):
            (Path(folder) / "flow").mkdir()
            (Path(folder) / "flow" / f"{self.name}.yaml").write_text(self.text(), encoding="utf-8")
            composed = compose([f"flow={self.name}"])
            assert composed.files  # found now: afterwards they are gone
            return composed


@contextmanager
def _first(folder: Path) -> Iterator[None]:
    paths.named_dirs.insert(0, folder)
    try:
        yield
    finally:
        paths.named_dirs.remove(folder)


def _yaml(values: Mapping[str, Any]) -> str:
    text: str = OmegaConf.to_yaml(OmegaConf.create(_escaped(values)))
    return text


def _escaped(value: Any) -> Any:
    """Values in which nothing is interpolated, but for what was put there on purpose (`Reference`)."""
    if isinstance(value, Mapping):
        return {key: _escaped(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_escaped(inner) for inner in value]
    if isinstance(value, Reference):
        return str(value)
    return re.sub(r"(?<!\\)(\\*+)\$\{", lambda m: m[1] * 2 + "\\${", value) if isinstance(value, str) else value


# -- what differs ----------------------------------------------------------------------------------------------------


def flow_only(config: Mapping[str, Any]) -> Values:
    """What of a run's config makes its flow."""
    found = {key: value for key, value in config.items() if key not in (*APART, "name", "defaults", "hydra")}
    cache = found.get("cache")
    if isinstance(cache, Mapping):
        found["cache"] = {key: value for key, value in cache.items() if key != "refresh"}
        if is_no_cache(cache):
            del found["cache"]
    return found


@dataclass(frozen=True)
class Unlike:
    """A leaf that is otherwise than wanted, or a group of keys that is taken from elsewhere.

    value: what is wanted. gone: nothing is wanted there, or nothing of some of the keys below: a file can only make
    them null. taken: 0 if the value stands there itself, 1 if a resolver gives it, 2 if it is taken from another key.
    """

    key: tuple[str, ...]
    value: Any
    taken: int = 0
    gone: bool = False

    @property
    def replaces(self) -> bool:
        """Whether other keys stand in the place of what is taken from elsewhere: a file can only add to those."""
        return self.gone and self.taken > 0

    @property
    def order(self) -> tuple[int, bool, int]:
        """What to set first: others may follow from it."""
        return self.taken, self.key[0] == "stages", len(self.key)


def unlike(wanted: Values, composed: Composed) -> list[Unlike]:
    """In what a composed config is not what is wanted."""
    plain = redact_value(composed.resolvable[0])
    there = {key: value for key, value in plain.items() if key in wanted or key not in (*APART, "name", "cache")}
    if isinstance(there.get("cache"), Mapping):
        there["cache"] = {key: value for key, value in there["cache"].items() if key != "refresh"}
    return list(_unlike(wanted, there, composed.raw, ()))


def _unlike(
    wanted: Mapping[str, Any], there: Mapping[str, Any], raw: Any, above: tuple[str, ...], taken: int = 0
) -> Iterator[Unlike]:
    for key in there:
        if key not in wanted and there[key] is not None:
            yield Unlike((*above, key), None, taken, gone=True)
    for key, value in wanted.items():
        written, other = raw.get(key) if isinstance(raw, Mapping) else None, there.get(key)
        if _same(value, other):
            continue
        how = max(taken, _taken(written))
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            inner = list(_unlike(value, other, written, (*above, key), how))
            if inner and how > taken:
                yield Unlike((*above, key), value, how, gone=any(one.gone for one in inner))
            else:
                yield from inner
        else:
            yield Unlike((*above, key), value, how)


def _taken(written: Any) -> int:
    """How a value comes to be, from how it is written: see `Unlike`."""
    if not isinstance(written, str) or "${" not in written:
        return 0
    return 1 if re.search(r"\$\{[\w.]+:", written) else 2


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, str) and isinstance(other, str) and is_path(value):
        return Path(other).absolute() == Path(value)
    return type(value) is type(other) and bool(value == other)


def is_path(value: str) -> bool:
    """Whether a text is the path of something on this machine: from its root, in a folder that is there."""
    parts = Path(value).parts
    return Path(value).is_absolute() and len(parts) > 1 and Path(*parts[:2]).exists()


def put(values: Mapping[str, Any], key: tuple[str, ...], value: Any) -> Values:
    """Values with one more."""
    first, *rest = key
    found = dict(values)
    inner = found.get(first)
    found[first] = put(inner if isinstance(inner, Mapping) else {}, tuple(rest), value) if rest else value
    return found
