"""Where an exception came from: the line of the user's own code for the message, the whole way for the trace."""

from __future__ import annotations

import os
import sysconfig
import traceback
from functools import cache
from pathlib import Path

from llmops_flows.core.errors import FlowError

_ENGINE = str(Path(__file__).with_name("execute.py"))
_INSTALLED = ("site-packages", "dist-packages")


def user_frame(error: BaseException) -> str:
    """`components/mine.py:12 in run`: the last line of somebody's own code on the way; "" where there is none.

    Not one's own are this package, the standard library and what is installed.
    """
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if not file.startswith(("<", *_foreign())) and not any(name in file for name in _INSTALLED):
            found = f"{_shown(file)}:{line} in {frame.f_code.co_name}"
    return found


def traceback_note(error: FlowError) -> dict[str, str]:
    """For the notes of a trace: the traceback of an exception that nobody raised on purpose, and of its causes.

    It begins where the engine called the stage.
    """
    cause = error.__cause__
    if cause is None or not hasattr(error, "kind"):
        return {}
    begin = step = cause.__traceback__
    while step is not None:
        begin = step.tb_next if step.tb_frame.f_code.co_filename == _ENGINE else begin
        step = step.tb_next
    return {"traceback": "".join(traceback.format_exception(type(cause), cause, begin))}


def _shown(file: str) -> str:
    try:
        return Path(file).relative_to(Path.cwd()).as_posix()
    except (ValueError, OSError):
        return file


@cache
def _foreign() -> tuple[str, ...]:
    library = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(__file__).parent.parent))
    return tuple(f"{place}{os.sep}" for place in library)
