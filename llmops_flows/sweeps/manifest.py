"""The manifest of a sweep: its points, and everything that decides their answers, for comparison with later runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_VERSION = 1
_MAX_NAMES = 3


@dataclass(frozen=True)
class PointIdentity:
    """The identity of a point: its overrides, the address of its work ("" if it is invalid), and of each part."""

    overrides: Sequence[str]
    work: str
    parts: Mapping[str, str]


@dataclass(frozen=True)
class Manifest:
    """A sweep.

    Attributes:
        identity: equal for two runs of the same command over the same points.
        points: number to point.
        details: address of a part to its content as plain data.
    """

    identity: str
    points: Mapping[int, PointIdentity]
    details: Mapping[str, Any] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        """The manifest as plain data."""
        points = {number: asdict(point) for number, point in self.points.items()}
        return {"version": _VERSION, "identity": self.identity, "points": points, "details": self.details}


def path(folder: Path, identity: str) -> Path:
    """The file of the manifest in the folder of a sweep."""
    return folder / f"sweep-{identity[:16]}.json"


def of_other_sweeps(folder: Path, identity: str) -> list[Path]:
    """The manifests of other sweeps in a folder."""
    return [file for file in folder.glob("sweep-*.json") if file != path(folder, identity)]


def earlier_folders(root: Path, identity: str) -> list[Path]:
    """The folders `DATE/TIME` below `root` in which a sweep ran before, the latest first."""
    files = root.glob(f"*/*/{path(Path(), identity).name}")
    return [file.parent for file in sorted(files, key=lambda file: file.parts[-3:-1], reverse=True)]


def read(folder: Path, identity: str) -> Manifest | None:
    """The manifest of a sweep in a folder; None if it is missing or cannot be read."""
    try:
        data = json.loads(path(folder, identity).read_text(encoding="utf-8"))
        if data["version"] != _VERSION:
            return None
        points = {int(number): PointIdentity(**point) for number, point in data["points"].items()}
        return Manifest(data["identity"], points, data["details"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


@dataclass(frozen=True)
class ExperimentChange:
    """A changed part of the experiment: its name, the change, and the numbers of the affected points."""

    part: str
    change: str
    points: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.part.removeprefix('stages.').removeprefix('evaluator.')}: {self.change}"


def changes(old: Manifest, new: Manifest) -> list[ExperimentChange]:
    """The changes between two runs of a sweep: each change once, with all affected points."""
    numbers: dict[tuple[str, str], list[int]] = {}
    for number, point in new.points.items():
        before = old.points.get(number)
        if before is not None and before.work and before.work != point.work:
            for name in _changed_parts(before.parts, point.parts):
                change = _describe(name, old, before.parts.get(name), new, point.parts.get(name))
                numbers.setdefault((name, change), []).append(number)
    return [ExperimentChange(name, change, tuple(points)) for (name, change), points in numbers.items()]


def _changed_parts(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    stages_changed = any(name.startswith("stages.") for name in names)
    return [name for name in names if name != "flow" or not stages_changed]


def _describe(name: str, old: Manifest, old_address: str | None, new: Manifest, new_address: str | None) -> str:
    if not old_address or not new_address:
        return "new" if new_address else "removed"
    before, after = old.details.get(old_address), new.details.get(new_address)
    if name == "questions":
        return _describe_questions(before, after)
    if name in ("samples", "tenant"):
        return f"{before!r} became {after!r}"
    keys = [key for key in _changed_keys(before, after) if key]
    return f"{_shorten(keys)} changed" if keys else "changed"


def _describe_questions(before: Any, after: Any) -> str:
    """The changes of a question set, given as id to the address of the row."""
    old, new = (rows if isinstance(rows, Mapping) else {} for rows in (before, after))
    ids_by_change = {
        "changed": [id for id in new if id in old and new[id] != old[id]],
        "added": [id for id in new if id not in old],
        "removed": [id for id in old if id not in new],
    }
    changes = [f"{len(ids)} {change} ({_shorten(ids)})" for change, ids in ids_by_change.items() if ids]
    return "; ".join(changes) or "reordered"


def _changed_keys(before: Any, after: Any, key: str = "") -> Iterator[str]:
    """The keys of the leaves in which two values differ."""
    before, after = _as_mapping(before), _as_mapping(after)
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in {**before, **after}:
            yield from _changed_keys(before.get(name), after.get(name), f"{key}.{name}" if key else str(name))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _changed_keys(old, new, f"{key}.{number}")
    elif before != after:
        yield key


def _as_mapping(value: Any) -> Any:
    """Convert a list of pairs, which is how identities store an ordered mapping, to a mapping."""
    pairs = isinstance(value, list) and value and all(isinstance(pair, list) and len(pair) == 2 for pair in value)
    return {pair[0]: pair[1] for pair in value} if pairs and all(isinstance(pair[0], str) for pair in value) else value


def _shorten(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _MAX_NAMES} more" if len(listed) > _MAX_NAMES else ""
    return ", ".join(listed[:_MAX_NAMES]) + more
