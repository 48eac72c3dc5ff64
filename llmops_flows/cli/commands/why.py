"""Explain stage by stage why a run computed what it did.

For each stage: how many answers were known, how many were computed, and what
was new about these: a setting, an input, the code, a row. With STAGE, also
the rows and the changed lines of long texts.

Examples:
  llmops-flows why last
  llmops-flows why 2 model
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import asdict

from llmops_flows.core.errors import FlowError
from llmops_flows.report.cache_misses import MAX_EARLIER_TRACES, explain_misses
from llmops_flows.report.text.why_text import format_misses
from llmops_flows.text.suggestions import did_you_mean

from ..argument_parser import add_json
from ..run_lookup import RUN, named_runs
from ..terminal import wrap


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("stage", nargs="?", metavar="STAGE", help="explain only this stage, in full")
    add_json(parser)


def main(arguments: Namespace) -> int:
    with named_runs(arguments.run) as [named]:
        run = named.saved.run
        traces = [trace for trace in named.traces.stored(run).values() if trace is not None] if run else []
        if not traces:
            cause = "it ran with tracer=none, is too old, or ended before a row was finished"
            raise FlowError(f"no trace of the run {arguments.run!r} is stored: {cause}")
        stages = explain_misses(traces, named.traces.before(run, MAX_EARLIER_TRACES), named.traces.contents)
    names = [stage.stage for stage in stages]
    if arguments.stage:
        if arguments.stage not in names:
            raise FlowError(f"unknown stage {arguments.stage!r}; {did_you_mean(arguments.stage, names)}")
        stages = [stage for stage in stages if stage.stage == arguments.stage]
    if arguments.json:
        print(json.dumps({"run": run, "stages": [asdict(stage) for stage in stages]}, indent=2, ensure_ascii=False))
    else:
        width, full = max(map(len, names)), arguments.stage is not None
        text = format_misses(traces[0]["flow"], run, len(traces), stages, width=width, full=full)
        print(wrap(text, sys.stdout))
    return 0
