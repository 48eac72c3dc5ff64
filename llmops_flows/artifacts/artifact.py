"""Artifacts: folders of files, each built once at its content address by one process at a time."""

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
"""Kind of artifact to the number of damaged artifacts that this process built again."""


def artifact(home: Path | None, address: str, build: Callable[[Path], None], *, kind: str = "index") -> Path:
    """The folder of the artifact with this address; `build(folder)` fills it if it does not exist.

    It is built in a temporary folder and renamed into place, so that an incomplete artifact is never visible. Other
    processes wait for the build; the lock of a process that died is released. The digest of every file is checked: a
    damaged artifact is removed, counted in `damaged` and built again. Treat the folder as read-only.

    If `home` cannot be written (permissions, disk space), a warning is logged and the artifact is built for this
    process only.

    Args:
        home: the folder of all stored data; None: a temporary folder that is removed when the process ends.
        address: content address (hex) of everything that decides the content.
        build: writes files into the folder. Its errors are raised unchanged.
        kind: the kind of artifact, which is the name of the parent folder.

    Raises:
        StoreError: the temporary folder cannot be written either.
    """
    with loading():
        return _get(home, address, build, kind)


def _get(home: Path | None, address: str, build: Callable[[Path], None], kind: str) -> Path:
    if home is not None:
        try:
            return _get_in(home, address, build, kind)
        except Exception as error:
            if not _is_disk_error_in(home, error):
                raise
            _warn_not_kept(kind, home, disk_error(error))
    temporary = temporary_home()
    try:
        return _get_in(temporary, address, build, kind)
    except Exception as error:
        if not _is_disk_error_in(temporary, error):
            raise
        raise no_space_error(kind, temporary, error) from error


def _is_disk_error_in(home: Path, error: Exception) -> bool:
    """Whether an error is a disk error in this folder, not in the files that the build reads."""
    name = getattr(error, "filename", None)
    elsewhere = isinstance(name, (str, Path)) and home not in (Path(name), *Path(name).parents)
    return bool(disk_error(error)) and not elsewhere and not isinstance(error, FlowError)


def no_space_error(kind: str, folder: Path, error: Exception) -> StoreError:
    """The error of an artifact that cannot be built in the temporary folder."""
    hint = "free space there, or set another folder: TMPDIR=FOLDER in the environment"
    return StoreError(f"the {_name(kind)} cannot be built in {str(folder)!r} ({disk_error(error) or error}): {hint}")


def _name(kind: str) -> str:
    return kind if kind.endswith("index") else f"{kind} index"


def _get_in(home: Path, address: str, build: Callable[[Path], None], kind: str) -> Path:
    parent = home / "artifacts" / kind
    folder = parent / address
    if not _is_intact(folder):
        parent.mkdir(parents=True, exist_ok=True)
        with locked(parent / f"{address}.lock"):
            if not _is_intact(folder):
                _clean_up(parent, address, kind)
                _build(folder, build)
    return folder


def _warn_not_kept(kind: str, home: Path, cause: str) -> None:
    """Log once per folder that artifacts cannot be stored there."""
    if home not in warned_homes:
        warned_homes.add(home)
        message = f"the {_name(kind)} cannot be stored in {str(home)!r} ({cause}): it is built for this process only"
        log.warning("%s; %s", message, DISK_HINT)


warned_homes: set[Path] = set()
"""Folders for which the warning was logged."""


@cache
def temporary_home() -> Path:
    """The folder of artifacts without a home. It is removed when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="llmops-flows-", ignore_cleanup_errors=True)
    temporary_home.folder = folder  # type: ignore[attr-defined]  # its finalizer removes it at exit
    return Path(folder.name)


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    scratch = folder.parent / f".{folder.name}.{secrets.token_hex(4)}"
    scratch.mkdir()
    try:
        build(scratch)
        (scratch / MANIFEST).write_text(json.dumps({"files": dict(digests(scratch))}, sort_keys=True), "utf-8")
        os.rename(scratch, folder)
    except BaseException as error:
        # Some libraries do not report that the disk is full; check it before the scratch folder is removed.
        cause = unwritable(scratch) if isinstance(error, Exception) and not isinstance(error, FlowError) else ""
        shutil.rmtree(scratch, ignore_errors=True)
        if cause:
            raise OSError(errno.ENOSPC, cause, str(scratch)) from error
        raise


def _clean_up(parent: Path, address: str, kind: str) -> None:
    """Remove incomplete folders of processes that died, and a damaged artifact."""
    for leftover in parent.glob(f".{address}.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    if (parent / address).exists():
        damaged[kind] += 1
        log.warning("the %s %s was damaged and is built again", kind, address[:12])
        shutil.rmtree(parent / address)


def digests(folder: Path) -> Iterator[tuple[str, str]]:
    """Every file of an artifact except its manifest, with the digest of its bytes."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MANIFEST:
            yield path.relative_to(folder).as_posix(), digest(path.read_bytes())


def _is_intact(folder: Path) -> bool:
    """Whether every file exists and matches its digest in the manifest."""
    try:
        listed = json.loads((folder / MANIFEST).read_bytes())["files"]
        return isinstance(listed, dict) and dict(digests(folder)) == listed
    except (OSError, ValueError, KeyError, TypeError):
        return False
