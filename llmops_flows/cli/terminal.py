"""The width of the terminal, and text that is wrapped at it."""

from __future__ import annotations

import os
import re
from typing import TextIO

_HEADED = re.compile(r"\A *\S+ {2,}")


def columns() -> int:
    """The width of the terminal. `shutil.get_terminal_size` does the same; importing it takes a tenth of `--help`."""
    try:
        return int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        pass
    try:
        return os.get_terminal_size().columns or 80
    except (OSError, ValueError):
        return 80


def wrap(text: str, stream: TextIO) -> str:
    """The text with long lines wrapped, if `stream` is a terminal. Continued lines are indented like their text."""
    width = columns()
    if not stream.isatty():
        return text
    return "\n".join(_wrap_line(line, width) if len(line) > width else line for line in text.split("\n"))


def _wrap_line(line: str, width: int) -> str:
    import textwrap

    head = _HEADED.match(line)
    indent = len(head[0]) if head else len(line) - len(line.lstrip()) + 2
    if indent > width // 2:
        return line
    return textwrap.fill(line, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
