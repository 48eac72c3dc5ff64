"""`replay RUN`: the answers of a run, or of every point of a sweep, once more from the record alone."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.core.plural import plural
from llmops_flows.report.config_differences import one_line

from ..argv import parse
from ..run_lookup import named, points

if TYPE_CHECKING:
    from llmops_flows.report.replay import ReplayedRun

_MOST = 20


def main(arguments: Sequence[str]) -> int:
    """Print the answers, and what could not be replayed. Returns 0; 1 when anything differs, is missing or failed.

    Nothing is asked, loaded or computed. Where the run left a results.jsonl, every row is compared with it.
    """
    from llmops_flows.report.replay import as_data, replay

    words, flags, _ = parse(arguments, ("--json",))
    if len(words) != 1:
        raise ConfigError(Problem("one run or sweep is replayed at a time", hint="replay RUN [--json]"))
    asked, lost = points(words[0])
    with named(*asked) as runs:
        found = [replay(one.variant, one.traces) for one in runs]
    if "--json" in flags:
        print(json.dumps(as_data(found), indent=2, ensure_ascii=False))
    else:
        print("\n".join(line for one in found for line in _text(one, alone=len(found) == 1)))
    for name, why in lost.items():
        print(f"point {name}: {one_line(why)}", file=sys.stderr)
    return 1 if lost or any(one.problems or not one.rows for one in found) else 0


def _text(one: ReplayedRun, *, alone: bool) -> Iterator[str]:
    from llmops_flows.report.text.tables import format_table

    if alone and one.rows:
        width = shutil.get_terminal_size((120, 24)).columns
        rows = [[str(r["id"]), str(r["question"] or ""), str(r["answer"] or "")] for r in one.rows[:_MOST]]
        yield format_table(["id", "question", "answer"], rows, width, stretch=3)
        if len(one.rows) > _MOST:
            yield f"and {len(one.rows) - _MOST} more: --json has all"
        yield ""
    same = ", byte for byte as results.jsonl has them" if one.compared else "; no results.jsonl to compare them with"
    name = f"{one.name}, run {one.run[:8]}" if one.run[:8] not in ("", one.name[:8]) else one.name
    yield f"{name}: {one.unchanged} of {plural(one.total, 'row')} from the record alone{same}"
    if not one.rows and not one.problems:
        yield "  no trace of it is kept: it ran with tracer=none, too long ago, or was ended before a row was done"
    for problem in one.problems[:_MOST]:
        yield f"  {problem.kind:<7}  {problem.row + ': ' if problem.row else ''}{one_line(problem.message)}"
    if len(one.problems) > _MOST:
        yield f"  and {len(one.problems) - _MOST} more: --json has all"
