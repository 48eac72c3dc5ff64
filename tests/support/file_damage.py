"""Damaged files, read-only folders and full disks."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def damage_file(file: Path, chance: random.Random) -> str:
    """Damage a file at one random place, and describe the damage."""
    data = bytearray(file.read_bytes())
    where = chance.randrange(len(data)) if data else 0
    kind = chance.choice(("flip", "zero", "cut"))
    if kind == "flip" and data:
        data[where] ^= 1 << chance.randrange(8)
    elif kind == "zero":
        end = min(len(data), where + chance.choice((1, 16, 512)))
        data[where:end] = bytes(end - where)
    else:
        del data[where:]
    file.write_bytes(bytes(data))
    return f"{kind} at {where}"


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder that no user can write to, not even root."""
    if os.geteuid() == 0:
        if subprocess.run(["mount", "--bind", folder, folder], capture_output=True).returncode:
            pytest.skip("root can write everywhere, and cannot mount here")
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", folder, folder], check=True, capture_output=True)
            yield
        finally:
            subprocess.run(["umount", "-l", folder], check=True, capture_output=True)
        return
    modes = [(path, path.stat().st_mode) for path in (folder, *folder.rglob("*"))]
    for path, mode in reversed(modes):
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in modes:
            path.chmod(mode)


@contextmanager
def small_disk(folder: Path, size: str = "2m") -> Iterator[Path]:
    """A small file system, mounted at `folder`."""
    folder.mkdir(exist_ok=True)
    result = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if result.returncode:
        pytest.skip("a file system cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True, capture_output=True)
