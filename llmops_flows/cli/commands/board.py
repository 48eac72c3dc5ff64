"""Show the leaderboard of a sweep, or write it as an HTML page.

The points of the sweep in FOLDER, by default of the last sweep, sorted by a
metric and compared with a baseline. Means have 95 % intervals.

Examples:
  llmops-flows board --sort groundedness
  llmops-flows board multirun/2026-01-31/12-00-00 --report
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from llmops_flows.core.errors import FlowError
from llmops_flows.report import leaderboard, saved_runs, search_results
from llmops_flows.report.saved_runs import SWEEPS_FOLDER, SavedRun
from llmops_flows.report.text import leaderboard_text


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", metavar="FOLDER", type=Path, help="of a sweep (default: of the last one)")
    parser.add_argument("--sort", metavar="METRIC", help="sort by this metric (default: the first one scored)")
    parser.add_argument(
        "--baseline", metavar="N", help="number of the point to compare with (default: the first point)"
    )
    parser.add_argument("--report", action="store_true", help="write report.html into the sweep's folder")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print CSV instead of a table")
    form.add_argument("--json", action="store_true", help="print JSON instead of a table")


def main(arguments: Namespace) -> int:
    folder = arguments.folder or saved_runs.latest_sweep(SWEEPS_FOLDER)
    points, failures = saved_runs.read_sweep(folder)
    board = leaderboard.leaderboard(
        points, sort=arguments.sort, baseline=_position(points, arguments.baseline), lost=failures,
        front=search_results.best_points(folder),
    )  # fmt: skip
    if arguments.json:
        print(json.dumps(leaderboard.as_data(board), indent=2, ensure_ascii=False, allow_nan=False))
    elif arguments.csv:
        print(leaderboard.as_csv(board), end="")
    else:
        print(leaderboard_text.format_leaderboard(board, color=sys.stdout.isatty()), end="")
    if arguments.report:
        from llmops_flows.report.page.html_page import write_page

        page = write_page(folder / "report.html", points, board)
        print(f"\n{page}", file=sys.stderr if arguments.json or arguments.csv else sys.stdout)
    return 0


def _position(points: Sequence[SavedRun], number: str | None) -> int:
    """The index of the point of that number. Points without results are not in the list."""
    names = [point.name for point in points]
    if number is None:
        return 0
    if number not in names:
        raise FlowError(f"point {number!r} not found; points with results: {', '.join(names)}")
    return names.index(number)
