"""Where a config value comes from: every file and line that set it, in order, then the overrides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .compose import ROOT, Composed, loader, search_path


@dataclass(frozen=True)
class Origin:
    """One place that set a key: the file and line, or the override; and the value as it is written there."""

    where: str
    value: str


def origins(key: str, composed: Composed) -> list[Origin]:
    """Every place that set a key, in the order in which they count: the last one won."""
    found = [origin for file, package in _files(composed) for origin in _in_file(file, package, key)]
    for override in composed.overrides:
        name, _, value = override.lstrip("+~").partition("=")
        if name == key:
            found.append(Origin(f"override {override}", value))
    return found


def _files(composed: Composed) -> Iterator[tuple[Path, str]]:
    """The config files that were composed, in order, with the package that each one fills."""
    from hydra.types import RunMode

    listed = loader().compute_defaults_list(ROOT, list(composed.overrides), RunMode.RUN)
    for default in listed.defaults:
        path = default.config_path or ""
        if path.startswith("hydra/") or path in ("_dummy_empty_config_", "hydra/config"):
            continue
        for _, folder in search_path():
            file = Path(folder.removeprefix("file://")) / f"{path}.yaml"
            if file.is_file():
                yield file, default.package or ""
                break


def _in_file(file: Path, package: str, key: str) -> list[Origin]:
    if package:
        if not key.startswith(f"{package}."):
            return []
        key = key[len(package) + 1 :]
    node: Any = yaml.compose(file.read_text(encoding="utf-8"))
    steps = key.split(".")
    for step in steps:
        node = _below(node, step)
        if node is None:
            return []
    shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    return [Origin(f"{shown}:{node.start_mark.line + 1}", _written(node))]


def _below(node: Any, step: str) -> Any:
    if isinstance(node, yaml.MappingNode):
        return next((value for name, value in node.value if name.value == step), None)
    if isinstance(node, yaml.SequenceNode) and step.isdigit() and int(step) < len(node.value):
        return node.value[int(step)]
    return None


def _written(node: Any) -> str:
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    return "{…}" if isinstance(node, yaml.MappingNode) else "[…]"


def keys(config: Any, prefix: str = "") -> Iterator[str]:
    """Every key of a plain config, dotted."""
    pairs: Sequence[tuple[Any, Any]] = list(config.items()) if isinstance(config, dict) else []
    for name, value in pairs:
        yield f"{prefix}{name}"
        yield from keys(value, f"{prefix}{name}.")
