"""Lists artifacts, checks them for damage, and removes them."""

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
    """An artifact. `problems`: the damage of its files."""

    kind: str
    address: str
    bytes: int
    problems: tuple[str, ...] = ()


def list_artifacts(home: Path, *, check: bool = False) -> list[Artifact]:
    """Every artifact in a home; `check` compares the digest of each file with the manifest."""
    artifacts = []
    for folder in _folders(home):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        problems = tuple(_problems(folder)) if check else ()
        artifacts.append(Artifact(folder.parent.name, folder.name, size, problems))
    return artifacts


def remove_artifact(home: Path, artifact: Artifact) -> None:
    """Remove a damaged artifact, so that it is built again when it is needed. Raises OSError."""
    parent = home / "artifacts" / artifact.kind
    with locked(parent / f"{artifact.address}.lock"):
        if any(_problems(parent / artifact.address)):  # otherwise another process has built it again
            shutil.rmtree(parent / artifact.address)


def _folders(home: Path) -> list[Path]:
    kinds = sorted(path for path in (home / "artifacts").glob("*") if path.is_dir())
    return [p for kind in kinds for p in sorted(kind.iterdir()) if p.is_dir() and not p.name.startswith(".")]


def _problems(folder: Path) -> Iterator[str]:
    try:
        listed = json.loads((folder / MANIFEST).read_bytes())["files"]
        present = dict(digests(folder))
        names = sorted(listed.keys() | present.keys())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        yield f"{MANIFEST} cannot be read"
        return
    for name in names:
        if name not in present:
            yield f"{name} is missing"
        elif name not in listed:
            yield f"{name} is not in the manifest"
        elif present[name] != listed[name]:
            yield f"{name} has changed since it was built"
