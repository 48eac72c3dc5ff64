"""Trouble with a disk, whoever it befalls: no room, no right to write, a file in the place of a folder."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path

DISK_HINT = "make room there, or name a folder that can be written: home=FOLDER"
ROOM = 1_000_000
"""Bytes below which a disk counts as full: a new store alone takes a third of that."""
_NUMBERS = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR, errno.EEXIST,
}  # fmt: skip
_SAID = re.compile(
    r"no space left on device|database or disk is full|disk quota exceeded|read-only file system|not a directory"
    r"|file exists|attempt to write a readonly database|unable to open database file|disk I/O error"
    r"|permission denied",
    re.IGNORECASE,
)


def disk_error(error: BaseException) -> str:
    """What is wrong with the disk, in few words; "" where the error is about something else.

    Libraries that are written in another language tell it in their text only.
    """
    if isinstance(error, OSError) and error.errno in _NUMBERS:
        return error.strerror or str(error)
    said = _SAID.search(str(error))
    return said[0] if said else ""


def with_disk_hint(error: BaseException) -> str:
    """What an error says, with how to mend it where it is the disk's."""
    return f"{error}; {DISK_HINT}" if disk_error(error) else str(error)


def unwritable(folder: Path) -> str:
    """Why nothing can be kept in a folder that is there or is still to be made; "" where it can. Makes nothing."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        return f"{str(there)!r} is a file"
    if hasattr(os, "statvfs") and os.statvfs(there).f_flag & os.ST_RDONLY:
        return os.strerror(errno.EROFS)
    if not os.access(there, os.W_OK | os.X_OK):
        return os.strerror(errno.EACCES)
    return os.strerror(errno.ENOSPC) if shutil.disk_usage(there).free < ROOM else ""
