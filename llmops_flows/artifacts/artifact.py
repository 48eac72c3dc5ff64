"""Artifacts: folders of files, built once at their content address, by one process at a time."""

from __future__ import annotations

import errno
import json
import logging
import os
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from llmops_flows.core.errors import FlowError, StoreError
from llmops_flows.core.fingerprint import digest

from .disk_errors import DISK_HINT, disk_error, unwritable
from .file_locks import locked
from .loading import loading

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"

damaged: Counter[str] = Counter()
"""Kind of artifact to how many were found damaged, and built again, in this process."""


def artifact(home: Path | None, address: str, build: Callable[[Path], None], *, kind: str = "index") -> Path:
    """The folder of the artifact with this address; `build(folder)` fills it when it is not there yet.

    It is built in a folder of its own and renamed into place, so that nobody sees half of it. Who asks while
    another process builds waits; the lock of a process that died is free. Every file's digest is checked: a
    damaged artifact is thrown away, counted in `damaged` and built again. Treat the folder as read-only.

    Args:
        home: folder of all that is kept; None: a folder that is gone when the process ends.
        address: content address (hex) of all that decides what is built.
        build: writes files below the folder that it is given; what it raises passes through.
        kind: what it is, for people: the name of the folder that holds it.

    A home that cannot be written (no right, no space) costs a warning: the artifact is then built for this process.

    Raises:
        StoreError: the temporary folder cannot be written either.
    """
    with loading():
        return _found(home, address, build, kind)


def _found(home: Path | None, address: str, build: Callable[[Path], None], kind: str) -> Path:
    if home is not None:
        try:
            return _placed(home, address, build, kind)
        except Exception as error:
            if not _of(home, error):
                raise
            _tell(kind, home, disk_error(error))
    place = temporary_home()
    try:
        return _placed(place, address, build, kind)
    except Exception as error:
        if not _of(place, error):
            raise
        raise no_room(kind, place, error) from error


def _of(home: Path, error: Exception) -> bool:
    """Whether an error is trouble with this folder, and not with what is read for building."""
    name = getattr(error, "filename", None)
    elsewhere = isinstance(name, (str, Path)) and home not in (Path(name), *Path(name).parents)
    return bool(disk_error(error)) and not elsewhere and not isinstance(error, FlowError)


def no_room(kind: str, place: Path, error: Exception) -> StoreError:
    """The error of an artifact for which a temporary folder has no room."""
    hint = "make room there, or name another folder: TMPDIR=FOLDER in the environment"
    return StoreError(f"the {_name(kind)} cannot be built in {str(place)!r} ({disk_error(error) or error}): {hint}")


def _name(kind: str) -> str:
    return kind if kind.endswith("index") else f"{kind} index"


def _placed(home: Path, address: str, build: Callable[[Path], None], kind: str) -> Path:
    room = home / "artifacts" / kind
    place = room / address
    if not _whole(place):
        room.mkdir(parents=True, exist_ok=True)
        with locked(room / f"{address}.lock"):
            if not _whole(place):
                _sweep(room, address, kind)
                _build(place, build)
    return place


def _tell(kind: str, home: Path, cause: str) -> None:
    """Say once for each folder that nothing built is kept there."""
    if home not in told:
        told.add(home)
        what = f"the {_name(kind)} cannot be kept in {str(home)!r} ({cause}): it is built for this process only"
        log.warning("%s; %s", what, DISK_HINT)


told: set[Path] = set()
"""Folders of which it was said that nothing can be kept there."""


@cache
def temporary_home() -> Path:
    """A folder for callers that have no home: it lives as long as the process."""
    folder = tempfile.TemporaryDirectory(prefix="llmops-flows-", ignore_cleanup_errors=True)
    temporary_home.folder = folder  # type: ignore[attr-defined]  # its finalizer removes it at exit
    return Path(folder.name)


def _build(place: Path, build: Callable[[Path], None]) -> None:
    scratch = place.parent / f".{place.name}.{secrets.token_hex(4)}"
    scratch.mkdir()
    try:
        build(scratch)
        (scratch / MANIFEST).write_text(json.dumps({"files": dict(digests(scratch))}, sort_keys=True), "utf-8")
        os.rename(scratch, place)
    except BaseException as error:
        # Some libraries fail on a full disk without a word about it; the room is looked at before it is given back.
        full = unwritable(scratch) if isinstance(error, Exception) and not isinstance(error, FlowError) else ""
        shutil.rmtree(scratch, ignore_errors=True)
        if full:
            raise OSError(errno.ENOSPC, full, str(scratch)) from error
        raise


def _sweep(room: Path, address: str, kind: str) -> None:
    """Remove what a process that died left half built, and a damaged artifact."""
    for left in room.glob(f".{address}.*"):
        shutil.rmtree(left, ignore_errors=True)
    if (room / address).exists():
        damaged[kind] += 1
        log.warning("the %s %s was damaged and is built again", kind, address[:12])
        shutil.rmtree(room / address)


def digests(folder: Path) -> Iterator[tuple[str, str]]:
    """Every file of an artifact but its manifest, with the digest of its bytes."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MANIFEST:
            yield path.relative_to(folder).as_posix(), digest(path.read_bytes())


def _whole(place: Path) -> bool:
    """Whether every file that was built is there, byte for byte."""
    try:
        listed = json.loads((place / MANIFEST).read_bytes())["files"]
        return isinstance(listed, dict) and dict(digests(place)) == listed
    except (OSError, ValueError, KeyError, TypeError):
        return False
