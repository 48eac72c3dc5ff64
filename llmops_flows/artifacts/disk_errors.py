"""Recognizes disk errors: no space, no permission, a file in place of a folder."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path

DISK_HINT = "free space there, or set a writable folder: home=FOLDER"
_MIN_FREE = 1_000_000
"""Free bytes below which a disk counts as full. An empty store needs a third of that."""
_ERRNOS = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR, errno.EEXIST,
}  # fmt: skip
_MESSAGES = re.compile(
    r"no space left on device|database or disk is full|disk quota exceeded|read-only file system|not a directory"
    r"|file exists|attempt to write a readonly database|unable to open database file|disk I/O error"
    r"|permission denied",
    re.IGNORECASE,
)


def disk_error(error: BaseException) -> str:
    """The cause of a disk error, in a few words; "" for any other error.

    Native libraries report the cause only in the message of their errors.
    """
    if isinstance(error, OSError) and error.errno in _ERRNOS:
        return error.strerror or str(error)
    message = _MESSAGES.search(str(error))
    return message[0] if message else ""


def with_disk_hint(error: BaseException) -> str:
    """The message of an error, with a hint if it is a disk error."""
    return f"{error}; {DISK_HINT}" if disk_error(error) else str(error)


def unwritable(folder: Path) -> str:
    """Why a folder cannot be written; "" if it can. The folder need not exist. Writes nothing."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        return f"{str(existing)!r} is a file"
    if hasattr(os, "statvfs") and os.statvfs(existing).f_flag & os.ST_RDONLY:
        return os.strerror(errno.EROFS)
    if not os.access(existing, os.W_OK | os.X_OK):
        return os.strerror(errno.EACCES)
    return os.strerror(errno.ENOSPC) if shutil.disk_usage(existing).free < _MIN_FREE else ""
