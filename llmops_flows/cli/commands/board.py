"""`board [FOLDER]`: the leaderboard of the last sweep, or of the sweep in a folder; --report writes it as a page."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_flows.core.errors import ConfigError, FlowError, Problem
from llmops_flows.report.saved_runs import SWEEPS_FOLDER

from ..argv import parse

if TYPE_CHECKING:
    from llmops_flows.report.saved_runs import SavedRun

_WIDE = 160
_FLAGS = ("--report", "--csv", "--json")
_OPTIONS = ("--sort", "--baseline")


def main(arguments: Sequence[str]) -> int:
    """Print the leaderboard as a table, or as --csv or --json. Returns 0.

    --sort METRIC: what ranks. --baseline N: the point that the others are compared with, by its number. --report:
    writes report.html into the sweep's folder.
    """
    from llmops_flows.report import leaderboard, saved_runs, search_results
    from llmops_flows.report.text import leaderboard_text

    words, flags, values = parse(arguments, _FLAGS, _OPTIONS)
    if len(words) > 1:
        raise ConfigError(Problem("one sweep is shown at a time", hint="board [FOLDER] [--report] [--csv] [--json]"))
    folder = Path(words[0]) if words else saved_runs.latest_sweep(SWEEPS_FOLDER)
    points, lost = saved_runs.read_sweep(folder)
    baseline = _position(points, values.get("--baseline"))
    front = search_results.best_points(folder)
    found = leaderboard.leaderboard(points, sort=values.get("--sort"), baseline=baseline, lost=lost, front=front)
    if "--json" in flags:
        print(json.dumps(leaderboard.as_data(found), indent=2, ensure_ascii=False, allow_nan=False))
    elif "--csv" in flags:
        print(leaderboard.as_csv(found), end="")
    else:
        here = sys.stdout.isatty()
        width = shutil.get_terminal_size((_WIDE, 24)).columns
        print(leaderboard_text.format_leaderboard(found, width=width, color=here), end="")
    if "--report" in flags:
        from llmops_flows.report.page.html_page import write_page

        written = write_page(folder / "report.html", points, found)
        print(f"\n{written}", file=sys.stderr if flags & {"--json", "--csv"} else sys.stdout)
    return 0


def _position(points: Sequence[SavedRun], number: str | None) -> int:
    """Where the point of that number stands: points without results have no place."""
    names = [point.name for point in points]
    if number is None:
        return 0
    if number not in names:
        raise FlowError(f"there is no point {number!r} with results; there are {', '.join(names)}")
    return names.index(number)
