"""Rebuild the answers of a run, or of all points of a sweep, from its traces.

Makes no call and computes nothing. Where the run has a results.jsonl, every
row is compared with it. The exit code is 1 when a row differs, is missing or
failed.

Examples:
  llmops-flows replay last
  llmops-flows replay multirun/2026-01-31/12-00-00 --json
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace

from llmops_flows.report.config_differences import one_line
from llmops_flows.report.replay import as_data, replay
from llmops_flows.report.text.replay_text import format_replay

from ..argument_parser import add_json
from ..run_lookup import RUN, named_runs, point_folders


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=f"{RUN}; or the folder of a sweep")
    add_json(parser)


def main(arguments: Namespace) -> int:
    names, failures = point_folders(arguments.run)
    with named_runs(*names) as runs:
        replays = [replay(run.saved, run.traces) for run in runs]
    if arguments.json:
        print(json.dumps(as_data(replays), indent=2, ensure_ascii=False))
    else:
        for each in replays:
            print(format_replay(each, answers=len(replays) == 1))
    for name, cause in failures.items():
        print(f"point {name}: {one_line(cause)}", file=sys.stderr)
    return 1 if failures or any(each.problems or not each.rows for each in replays) else 0
