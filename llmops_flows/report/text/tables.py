"""Plain text tables, for every report. docs/decisions/tables.md says why this is not Rich."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from llmops_flows.core.redaction import redact

NARROWEST = 8
"""Cells of a column with `shrink` are not cut to fewer characters than this."""
_LONG_HEAD = 12
_GAP = "  "


@dataclass(eq=False)
class Column:
    """A column under its head.

    Attributes:
        cells: made printable and free of secrets.
        right: align to the right.
        shrink: whether cells may be cut where the table is too wide.
        drop: leave the column out where the table is too wide, the highest number first; 0: never, -1: only where
            cutting cells is not enough.
        styles: for each cell, its ANSI style codes ("" for none), for instance "1;31".
    """

    head: str
    cells: list[str]
    right: bool = False
    shrink: bool = False
    drop: int = 0
    styles: Sequence[str] = ()
    width: int = field(init=False)

    def __post_init__(self) -> None:
        self.cells = [printable(cell) for cell in self.cells]
        self.width = max(map(text_width, [*self.heads, *self.cells]))

    @property
    def heads(self) -> list[str]:
        """The lines of the head: the long name of a metric breaks at the underscore nearest to its middle."""
        breaks = [n for n, char in enumerate(self.head) if char == "_"]
        if len(self.head) < _LONG_HEAD or not breaks or not self.head.isidentifier():
            return [self.head]
        middle = min(breaks, key=lambda n: abs(n - len(self.head) / 2))
        return [self.head[: middle + 1], self.head[middle + 1 :]]


def output_width() -> int:
    """COLUMNS, or the width of the terminal, or 160 where the output is not a terminal."""
    return shutil.get_terminal_size((160, 24)).columns


def format_table(heads: Sequence[str], rows: Iterable[Sequence[str]], width: int = 0, *, stretch: int = 0) -> str:
    """Rows under their heads: the first column, and the `stretch` first ones, are texts that may be cut.

    width: of the output, by default `output_width()`.
    """
    cells = list(rows)
    columns = [
        Column(head, [row[n] for row in cells], right=n >= max(stretch, 1), shrink=n < stretch)
        for n, head in enumerate(heads)
    ]
    return "\n".join(table_lines(fit(columns, width or output_width())))


def fit(columns: Sequence[Column], width: int) -> list[Column]:
    """The columns that fit. Those with `drop` are left out first, then the widest ones with `shrink` are cut."""
    fitting = list(columns)
    while _total(fitting) > width and any(column.drop > 0 for column in fitting):
        fitting.remove(max(fitting, key=lambda column: column.drop))
    while _total(fitting) > width:
        widest = max((column for column in fitting if column.shrink), key=lambda column: column.width, default=None)
        if widest is None or widest.width <= NARROWEST:
            break
        widest.width -= 1
    while _total(fitting) > width and (droppable := [column for column in fitting if column.drop < 0]):
        fitting.remove(droppable[-1])
    return fitting


def table_lines(columns: Sequence[Column]) -> list[str]:
    """The lines of a table: heads, a rule, and one line for each row."""
    height = max(len(column.heads) for column in columns)
    heads = [["" for _ in range(height - len(column.heads))] + column.heads for column in columns]
    lines = [_joined(columns, [head[n] for head in heads]) for n in range(height)]
    lines.append(_joined(columns, ["-" * column.width for column in columns]))
    for n in range(len(columns[0].cells)):
        cells = [_styled(_aligned(column.cells[n], column), column, n) for column in columns]
        lines.append(_GAP.join(cells).rstrip())
    return lines


def printable(text: str) -> str:
    """One line without secrets and control characters, so that an answer cannot control the terminal."""
    return "".join(char if char.isprintable() else " " for char in " ".join(redact(text).split()))


def text_width(text: str) -> int:
    """The width of a text in a terminal: East Asian characters are two columns wide."""
    return len(text) if text.isascii() else sum(1 + (unicodedata.east_asian_width(char) in "WF") for char in text)


def cut(text: str, width: int) -> str:
    """The text, or its start with an ellipsis where it is wider than `width`."""
    if text_width(text) <= width:
        return text
    while text_width(text) > max(width - 1, 0):
        text = text[: min(len(text) - 1, width)]
    return text + "…"


def _total(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + len(_GAP) * (len(columns) - 1)


def _joined(columns: Sequence[Column], cells: Sequence[str]) -> str:
    return _GAP.join(_aligned(cell, column) for cell, column in zip(cells, columns, strict=True)).rstrip()


def _aligned(text: str, column: Column) -> str:
    text = cut(text, column.width)
    space = " " * (column.width - text_width(text))
    return space + text if column.right else text + space


def _styled(text: str, column: Column, row: int) -> str:
    codes = column.styles[row] if column.styles else ""
    return f"\x1b[{codes}m{text}\x1b[0m" if codes else text
