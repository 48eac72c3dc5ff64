"""Who holds something that is shared with other processes, and whether that process is no more."""

from __future__ import annotations

import os
import platform
import uuid


def new_owner() -> str:
    """A name for somebody in this process: machine, process, and a mark of its own."""
    return f"{platform.node()}/{os.getpid()}/{uuid.uuid4().hex}"


def is_dead(owner: str) -> bool:
    """Whether the owner was somebody in a process of this machine that is no more."""
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
