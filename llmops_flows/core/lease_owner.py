"""Names of lease holders. A name contains the process id, so that a dead holder can be recognized."""

from __future__ import annotations

import os
import platform
import uuid


def new_owner() -> str:
    """A new name: machine, process id, and a unique part."""
    return f"{platform.node()}/{os.getpid()}/{uuid.uuid4().hex}"


def is_dead(owner: str) -> bool:
    """Whether the owner belongs to a process of this machine that has ended."""
    machine, _, rest = owner.partition("/")
    process = rest.partition("/")[0]
    if machine != platform.node() or not process.isdigit() or os.name != "posix":
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
