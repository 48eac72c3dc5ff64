"""Count what a sweep or run would compute, and estimate its cost.

For each stage: how many answers are requested, how many are known, and how
many are left to compute. Tokens, cost (USD) and work (time, one answer after
another) are estimated from earlier runs of the same stages, at today's
prices. Calls no model. The exit code is 2 when the config of a point is wrong.

Examples:
  llmops-flows plan flow=rag_support
  llmops-flows plan -m flow=rag_support retriever.k=2,4,8 questions.limit=20
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from llmops_flows.config.composition.override_parser import expand_globs
from llmops_flows.config.composition.quoting import quote_overrides
from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.report.text.plan_text import format_plan
from llmops_flows.sweeps.exit_codes import INVALID_CONFIG, OK
from llmops_flows.sweeps.planning import plan_sweep

from ..argument_parser import add_overrides


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("-m", "--multirun", action="store_true", help="accepted as in a run; has no effect")
    add_overrides(parser)


def main(arguments: Namespace) -> int:
    if any(word.lstrip("+").startswith("hydra/sweeper=") for word in arguments.overrides):
        hint = "leave out hydra/sweeper and the settings of the search: then every point is counted"
        raise ConfigError(Problem("a search chooses its points as it runs: it cannot be planned", hint=hint))
    plan = plan_sweep(expand_globs(quote_overrides(arguments.overrides)))
    copies = sum(point.same_as is not None for point in plan.points)
    print(format_plan(len(plan.points), copies, plan.stages, plan.estimates))
    invalid = [point for point in plan.points if point.experiment is None]
    for point in invalid:
        print(f"\npoint {point.number} ({' '.join(point.overrides)}) cannot run:")
        print("\n".join(f"  - {problem}" for problem in point.problems))
    for note in plan.notes:
        print(f"\n{note}")
    return INVALID_CONFIG if invalid else OK
