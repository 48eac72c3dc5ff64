"""Set up and end a process that a worker pool or a launcher started."""

from __future__ import annotations

import os
import signal
import threading
import time
from uuid import uuid4

from llmops_flows.config import redacted_output

from ..exit_codes import INTERRUPTED
from .pool import STOP

PROCESS = uuid4().hex
"""Identifies this process, so that a task can check whether it runs in the process that created it."""
_parent: list[int] = []
"""The id of the parent process, if a launcher started this process."""


def set_up_job_process(sender: str) -> None:
    """Set up the process of a job. Unless it is the sender, redact its output, and end it with its parent."""
    redacted_output.redact_logs()
    if sender != PROCESS and not _parent:
        redacted_output.redact_streams()
        _parent.append(os.getppid())
        threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Interrupt this process when its parent has ended, since its results would be lost."""
    while os.getppid() in _parent:
        time.sleep(1)
    interrupt_process()


def interrupt_process() -> None:
    """Interrupt this process, and exit if the interrupt does not end it."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(STOP)
    os._exit(INTERRUPTED)
