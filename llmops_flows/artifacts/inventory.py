"""Looking after artifacts: which there are, which are whole, and what is wrong with the others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .artifact import MANIFEST, digests
from .file_locks import locked


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact that was built. `faults`: what is wrong with it, file by file."""

    kind: str
    address: str
    bytes: int
    problems: tuple[str, ...] = ()


def list_artifacts(home: Path, *, check: bool = False) -> list[Artifact]:
    """Every artifact below a home; with `check`, each file's digest is compared with what was built."""
    found = []
    for place in _places(home):
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        found.append(Artifact(place.parent.name, place.name, size, tuple(_problems(place)) if check else ()))
    return found


def remove_artifact(home: Path, artifact: Artifact) -> None:
    """Remove an artifact, so that it is built again; nobody builds it just now. Raises OSError."""
    room = home / "artifacts" / artifact.kind
    with locked(room / f"{artifact.address}.lock"):
        if any(_problems(room / artifact.address)):  # else another process has built it anew meanwhile
            shutil.rmtree(room / artifact.address)


def _places(home: Path) -> list[Path]:
    kinds = sorted(path for path in (home / "artifacts").glob("*") if path.is_dir())
    return [p for kind in kinds for p in sorted(kind.iterdir()) if p.is_dir() and not p.name.startswith(".")]


def _problems(place: Path) -> Iterator[str]:
    try:
        listed = json.loads((place / MANIFEST).read_bytes())["files"]
        there = dict(digests(place))
        names = sorted(listed.keys() | there.keys())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        yield f"{MANIFEST} cannot be read"
        return
    for name in names:
        if name not in there:
            yield f"{name} is missing"
        elif name not in listed:
            yield f"{name} does not belong there"
        elif there[name] != listed[name]:
            yield f"{name} has other bytes than were built"
