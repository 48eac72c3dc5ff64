"""A replayed run as text: its answers, the number of unchanged rows, and the problems."""

from __future__ import annotations

from collections.abc import Iterator

from llmops_flows.core.plural import plural

from ..config_differences import one_line
from ..replay import ReplayedRun
from .tables import format_table

_MAX_LINES = 20


def format_replay(run: ReplayedRun, *, answers: bool) -> str:
    """`answers`: begin with a table of the answers."""
    return "\n".join(_lines(run, answers))


def _lines(run: ReplayedRun, answers: bool) -> Iterator[str]:
    if answers and run.rows:
        rows = [[str(row["id"]), str(row["question"] or ""), str(row["answer"] or "")] for row in run.rows[:_MAX_LINES]]
        yield format_table(["id", "question", "answer"], rows, stretch=3)
        if len(run.rows) > _MAX_LINES:
            yield f"and {len(run.rows) - _MAX_LINES} more: --json prints all"
        yield ""
    compared = ", byte for byte as in results.jsonl" if run.compared else "; no results.jsonl to compare with"
    name = f"{run.name}, run {run.run[:8]}" if run.run[:8] not in ("", run.name[:8]) else run.name
    yield f"{name}: {run.unchanged} of {plural(run.total, 'row')} from the traces alone{compared}"
    if not run.rows and not run.problems:
        yield "  no trace is stored: it ran with tracer=none, is too old, or ended before a row was finished"
    for problem in run.problems[:_MAX_LINES]:
        yield f"  {problem.kind:<7}  {problem.row + ': ' if problem.row else ''}{one_line(problem.message)}"
    if len(run.problems) > _MAX_LINES:
        yield f"  and {len(run.problems) - _MAX_LINES} more: --json prints all"
