"""Plain text tables, for every report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llmops_flows.core.redaction import redact


def format_table(heads: Sequence[str], rows: Iterable[Sequence[str]], width: int, *, stretch: int = 0) -> str:
    """Columns under their heads; the first `stretch` columns share what room there is, the others keep theirs."""
    cells = [[_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[n]) for row in [list(heads), *cells]) for n in range(len(heads))]
    room = width - sum(widths[stretch:]) - 2 * (len(heads) - 1)
    for n in range(stretch):
        share = max(12, room // (stretch - n))
        widths[n] = min(widths[n], share)
        room -= widths[n]
    lines = [list(heads), ["-" * w for w in widths], *cells]
    return "\n".join(
        "  ".join(_fit(cell, widths[n], right=n >= max(stretch, 1)) for n, cell in enumerate(line)).rstrip()
        for line in lines
    )


def _fit(text: str, width: int, *, right: bool) -> str:
    text = text if len(text) <= width else text[: width - 1] + "…"
    return text.rjust(width) if right else text.ljust(width)


def _line(text: str) -> str:
    """One line without secrets and without control characters (an answer must not steer the terminal)."""
    return "".join(c if c.isprintable() else " " for c in " ".join(redact(text).split()))
