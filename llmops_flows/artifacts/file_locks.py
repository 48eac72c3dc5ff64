"""File locks between processes. The operating system frees the lock of a process that dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which is created if missing. Other processes and threads wait.

    Raises:
        OSError: the file cannot be opened for writing.
    """
    with path.open("a+b") as file:
        _lock(file.fileno())
        try:
            yield
        finally:
            _unlock(file.fileno())


@contextmanager
def try_locked(path: Path) -> Iterator[bool]:
    """`locked` without waiting: yields False if another process or thread holds the lock."""
    with path.open("a+b") as file:
        try:
            _lock(file.fileno(), wait=False)
        except (BlockingIOError, PermissionError):
            yield False
            return
        try:
            yield True
        finally:
            _unlock(file.fileno())


if os.name == "nt":  # pragma: no cover
    import msvcrt

    def _lock(number: int, *, wait: bool = True) -> None:
        msvcrt.locking(number, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]

    def _unlock(number: int) -> None:
        msvcrt.locking(number, msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]

else:
    import fcntl

    def _lock(number: int, *, wait: bool = True) -> None:
        fcntl.flock(number, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(number: int) -> None:
        fcntl.flock(number, fcntl.LOCK_UN)
