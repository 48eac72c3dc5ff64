"""Show how two runs differ: config, stages, answers and scores.

A and B are output folders, numbers of points of the last sweep, ids of runs
(four characters or more), or `last`. The exit code is 0 even if they differ.

Examples:
  llmops-flows diff 0 3
  llmops-flows diff outputs/2026-01-31/12-00-00 last --json
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmops_flows.core.errors import MissingExtra
from llmops_flows.integrations.trulens.run_diff import judge_metrics, run_diff
from llmops_flows.report import comparison
from llmops_flows.report.comparison import Comparison, WrittenAddresses
from llmops_flows.report.saved_runs import SavedRun
from llmops_flows.report.text import comparison_text

from ..argument_parser import add_json
from ..run_lookup import RUN, NamedRun, named_runs


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("first", metavar="A", help=RUN)
    parser.add_argument("second", metavar="B", help="the run to compare with it")
    add_json(parser)


def main(arguments: Namespace) -> int:
    with named_runs(arguments.first, arguments.second) as (first, second):
        steps = _steps(first), _steps(second)
    result = comparison.compare(first.saved, second.saved, (steps[0], steps[1]) if all(steps) else None)
    result = replace(result, judged=_judged(first.saved, second.saved, result))
    if arguments.json:
        print(json.dumps(comparison.as_data(result), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print(comparison_text.format_comparison(result), end="")
    return 0


def _judged(first: SavedRun, second: SavedRun, result: Comparison) -> Mapping[str, dict[str, Any]]:
    """The comparison by TruLens of the scores of its judges. TruLens is loaded only if such scores differ."""
    metrics = judge_metrics(first.config) & judge_metrics(second.config) & set(result.scores)
    try:
        return run_diff((first.name, first.rows), (second.name, second.rows), metrics)
    except MissingExtra as missing:
        print(f"the comparison by TruLens is left out: {missing}", file=sys.stderr)
        return {}


def _steps(run: NamedRun) -> WrittenAddresses:
    return comparison.written_addresses(run.traces.traces(run.saved.run)) if run.saved.run else {}
