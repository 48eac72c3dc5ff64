"""What a sweep was when it ran: its points and what decided their answers, so that a later run sees what changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_VERSION = 1
_SHOWN = 3


@dataclass(frozen=True)
class ManifestPoint:
    """One point: its overrides, the address of what it does, and that of each part of it."""

    overrides: Sequence[str]
    work: str
    parts: Mapping[str, str]


@dataclass(frozen=True)
class Manifest:
    """A sweep.

    Attributes:
        identity: two runs of the same command over the same points are the same sweep.
        points: number to point; one whose config is wrong does no work ("").
        details: address of a part to what lies behind it, as plain data.
    """

    identity: str
    points: Mapping[int, ManifestPoint]
    details: Mapping[str, Any] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        """The manifest as plain data."""
        points = {n: {"overrides": p.overrides, "work": p.work, "parts": p.parts} for n, p in self.points.items()}
        return {"version": _VERSION, "identity": self.identity, "points": points, "details": self.details}


def place(folder: Path, identity: str) -> Path:
    """Where the manifest of a sweep lies in its folder: its name tells whose it is."""
    return folder / f"sweep-{identity[:16]}.json"


def others(folder: Path, identity: str) -> list[Path]:
    """Manifests of other sweeps in a folder."""
    return [path for path in folder.glob("sweep-*.json") if path != place(folder, identity)]


def earlier(root: Path, identity: str) -> list[Path]:
    """The folders `DATE/TIME` below `root` in which a sweep ran before, the latest first."""
    found = root.glob(f"*/*/{place(Path(), identity).name}")
    return [path.parent for path in sorted(found, key=lambda path: path.parts[-3:-1], reverse=True)]


def read(folder: Path, identity: str) -> Manifest | None:
    """The manifest of a sweep in a folder; None where there is none that can be read."""
    try:
        found = json.loads(place(folder, identity).read_text(encoding="utf-8"))
        if found["version"] != _VERSION:
            return None
        points = {int(n): ManifestPoint(p["overrides"], p["work"], p["parts"]) for n, p in found["points"].items()}
        return Manifest(found["identity"], points, found["details"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


@dataclass(frozen=True)
class ExperimentChange:
    """A part that is not what it was: what of it changed, and at which points."""

    part: str
    what: str
    points: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.part.removeprefix('stages.').removeprefix('evaluator.')}: {self.what}"


def changes(old: Manifest, new: Manifest) -> list[ExperimentChange]:
    """What changed between two runs of a sweep: each change once, with all points that it touches."""
    found: dict[tuple[str, str], list[int]] = {}
    for number, point in new.points.items():
        before = old.points.get(number)
        if before is not None and before.work and before.work != point.work:
            for name in _differing(before.parts, point.parts):
                was, now = before.parts.get(name, ""), point.parts.get(name, "")
                what = _what(name, old.details.get(was), new.details.get(now)) if was and now else ""
                found.setdefault((name, what or ("new" if now else "gone")), []).append(number)
    return [ExperimentChange(name, what, tuple(numbers)) for (name, what), numbers in found.items()]


def _differing(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    inner = [name for name in names if name.startswith("stages.")]
    return [name for name in names if name != "flow" or not inner]


def _what(name: str, before: Any, now: Any) -> str:
    if name == "questions":
        return _rows(before, now)
    if name in ("samples", "tenant"):
        return f"{before!r} became {now!r}"
    keys = [key for key in _keys(before, now) if key]
    return f"{_few(keys)} changed" if keys else "changed"


def _rows(before: Any, now: Any) -> str:
    """What became of a question set, of which the address of each row is known by its id."""
    old, new = (found if isinstance(found, Mapping) else {} for found in (before, now))
    told = {
        "changed": [id for id in new if id in old and new[id] != old[id]],
        "added": [id for id in new if id not in old],
        "taken out": [id for id in old if id not in new],
    }
    return "; ".join(f"{len(ids)} {word} ({_few(ids)})" for word, ids in told.items() if ids) or "put in another order"


def _keys(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """The leaves in which two values differ."""
    before, now = _named(before), _named(now)
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in {**before, **now}:
            yield from _keys(before.get(key), now.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for number, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from _keys(one, other, f"{path}.{number}")
    elif before != now:
        yield path


def _named(value: Any) -> Any:
    """A list of pairs, as which identities keep mappings whose order counts, as a mapping again."""
    pairs = isinstance(value, list) and value and all(isinstance(p, list) and len(p) == 2 for p in value)
    return {p[0]: p[1] for p in value} if pairs and all(isinstance(p[0], str) for p in value) else value


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
