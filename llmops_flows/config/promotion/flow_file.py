"""The flow file of a promotion: its text, its composed config, and the differences from the config of a run."""

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
NOT_IN_FLOW = ("home", "store", "tracer", "tags", "question", "tenant", "trust", "budget")
"""Keys that describe a run or a machine and do not belong in a flow."""


class Reference(str):
    """Text that is an interpolation and is not escaped."""


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
        """The content of the file."""
        printable = ("".join(c for c in " ".join(line.split()) if c.isprintable()) for line in comments)
        lines = ["# @package _global_", *(f"# {line}" for line in printable), "defaults:", f"  - {self.base}"]
        lines += [f"  - /{group}: {option}" for group, option in sorted(self.added.items())]
        lines += [f"  - override /{group}: {option}" for group, option in sorted(self.chosen.items())]
        return "\n".join([*lines, "  - _self_", "", _yaml({"name": self.name, **self.values})])

    def composed(self) -> Composed:
        """The config of the file, composed from a temporary folder that is first in the search order."""
        with tempfile.TemporaryDirectory() as folder, _searched_first(Path(folder)):
            (Path(folder) / "flow").mkdir()
            (Path(folder) / "flow" / f"{self.name}.yaml").write_text(self.text(), encoding="utf-8")
            composed = compose([f"flow={self.name}"])
            assert composed.files  # read before the folder is removed
            return composed


@contextmanager
def _searched_first(folder: Path) -> Iterator[None]:
    paths.command_line_dirs.insert(0, folder)
    try:
        yield
    finally:
        paths.command_line_dirs.remove(folder)


def _yaml(values: Mapping[str, Any]) -> str:
    text: str = OmegaConf.to_yaml(OmegaConf.create(_escaped(values)))
    return text


def _escaped(value: Any) -> Any:
    """Values in which only a `Reference` is interpolated."""
    if isinstance(value, Mapping):
        return {key: _escaped(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_escaped(inner) for inner in value]
    if isinstance(value, Reference):
        return str(value)
    return re.sub(r"(?<!\\)(\\*+)\$\{", lambda m: m[1] * 2 + "\\${", value) if isinstance(value, str) else value


# -- differences -----------------------------------------------------------------------------------------------------


def flow_only(config: Mapping[str, Any]) -> Values:
    """The part of a run's config that belongs to its flow."""
    flow = {key: value for key, value in config.items() if key not in (*NOT_IN_FLOW, "name", "defaults", "hydra")}
    cache = flow.get("cache")
    if isinstance(cache, Mapping):
        flow["cache"] = {key: value for key, value in cache.items() if key != "refresh"}
        if is_no_cache(cache):
            del flow["cache"]
    return flow


@dataclass(frozen=True)
class FlowFileDifference:
    """A key whose value differs from the wanted value.

    Attributes:
        value: the wanted value.
        source: of the current value: 0 if written in place, 1 if from a resolver, 2 if from another key.
        removed: the key, or a key below it, is not wanted; a file can only set it to null.
    """

    key: tuple[str, ...]
    value: Any
    source: int = 0
    removed: bool = False

    @property
    def replaces(self) -> bool:
        """Whether a value from another key has unwanted keys, which a file cannot remove."""
        return self.removed and self.source > 0

    @property
    def order(self) -> tuple[int, bool, int]:
        """Sort key: values that others may depend on are set first."""
        return self.source, self.key[0] == "stages", len(self.key)


def differences(wanted: Values, composed: Composed) -> list[FlowFileDifference]:
    """Where a composed config differs from the wanted one."""
    plain = redact_value(composed.resolvable[0])
    actual = {key: value for key, value in plain.items() if key in wanted or key not in (*NOT_IN_FLOW, "name", "cache")}
    if isinstance(actual.get("cache"), Mapping):
        actual["cache"] = {key: value for key, value in actual["cache"].items() if key != "refresh"}
    return list(_differences(wanted, actual, composed.raw, ()))


def _differences(
    wanted: Mapping[str, Any], actual: Mapping[str, Any], raw: Any, above: tuple[str, ...], source: int = 0
) -> Iterator[FlowFileDifference]:
    for key in actual:
        if key not in wanted and actual[key] is not None:
            yield FlowFileDifference((*above, key), None, source, removed=True)
    for key, value in wanted.items():
        written, other = raw.get(key) if isinstance(raw, Mapping) else None, actual.get(key)
        if _same(value, other):
            continue
        value_source = max(source, _source(written))
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            inner = list(_differences(value, other, written, (*above, key), value_source))
            if inner and value_source > source:
                yield FlowFileDifference((*above, key), value, value_source, removed=any(d.removed for d in inner))
            else:
                yield from inner
        else:
            yield FlowFileDifference((*above, key), value, value_source)


def _source(written: Any) -> int:
    """The `FlowFileDifference.source` of a value as written."""
    if not isinstance(written, str) or "${" not in written:
        return 0
    return 1 if re.search(r"\$\{[\w.]+:", written) else 2


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, str) and isinstance(other, str) and is_path(value):
        return Path(other).absolute() == Path(value)
    return type(value) is type(other) and bool(value == other)


def is_path(value: str) -> bool:
    """Whether a text is an absolute path whose first folder exists on this machine."""
    parts = Path(value).parts
    return Path(value).is_absolute() and len(parts) > 1 and Path(*parts[:2]).exists()


def put(values: Mapping[str, Any], key: tuple[str, ...], value: Any) -> Values:
    """A copy of the values with one more key set."""
    first, *rest = key
    updated = dict(values)
    inner = updated.get(first)
    updated[first] = put(inner if isinstance(inner, Mapping) else {}, tuple(rest), value) if rest else value
    return updated
