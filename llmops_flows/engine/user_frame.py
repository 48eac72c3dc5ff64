"""Where an exception was raised: the line of user code for messages, and a shortened traceback for traces."""

from __future__ import annotations

import os
import sysconfig
import traceback
from functools import cache
from pathlib import Path

from llmops_flows.core.errors import FlowError

_CALLERS = tuple(str(Path(__file__).with_name(name)) for name in ("attempt.py", "execute.py"))
"""The files that call a stage."""
_INSTALLED = ("site-packages", "dist-packages")


def user_frame(error: BaseException) -> str:
    """The innermost line of user code in the traceback, as `components/mine.py:12 in run`; "" if it has none.

    User code is outside this package, the standard library and installed packages.
    """
    frame_text = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if not file.startswith(("<", *_library_folders())) and not any(name in file for name in _INSTALLED):
            frame_text = f"{_relative(file)}:{line} in {frame.f_code.co_name}"
    return frame_text


def traceback_note(error: FlowError) -> dict[str, str]:
    """The trace note of an unexpected exception: its traceback and causes, starting at the call of the stage."""
    cause = error.__cause__
    if cause is None or not hasattr(error, "kind"):
        return {}
    start = step = cause.__traceback__
    while step is not None:
        start = step.tb_next if step.tb_frame.f_code.co_filename in _CALLERS else start
        step = step.tb_next
    return {"traceback": "".join(traceback.format_exception(type(cause), cause, start))}


def _relative(file: str) -> str:
    try:
        return Path(file).relative_to(Path.cwd()).as_posix()
    except (ValueError, OSError):
        return file


@cache
def _library_folders() -> tuple[str, ...]:
    library = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(__file__).parent.parent))
    return tuple(f"{folder}{os.sep}" for folder in library)
