"""`diff A B`: what two runs differ in; each is an output folder, a point of the last sweep, or a run's id."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmops_flows.core.errors import ConfigError, MissingExtra, Problem

from ..argv import parse
from ..run_lookup import Named, named

if TYPE_CHECKING:
    from llmops_flows.report.comparison import Comparison, WrittenAddresses
    from llmops_flows.report.saved_runs import SavedRun


def main(arguments: Sequence[str]) -> int:
    """Print in what B differs from A, as text or as --json. Returns 0, also when they differ."""
    from llmops_flows.report import comparison
    from llmops_flows.report.text import comparison_text

    words, flags, _ = parse(arguments, ("--json",))
    if len(words) != 2:
        raise ConfigError(Problem(f"two runs are compared, not {len(words)}", hint="diff A B [--json]"))
    with named(*words) as (first, second):
        steps = _steps(first), _steps(second)
    there = (steps[0], steps[1]) if steps[0] and steps[1] else None
    found = comparison.compare(first.variant, second.variant, there)
    found = replace(found, judged=_judged(first.variant, second.variant, found))
    if "--json" in flags:
        print(json.dumps(comparison.as_data(found), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print(comparison_text.format_comparison(found), end="")
    return 0


def _judged(first: SavedRun, second: SavedRun, found: Comparison) -> dict[str, dict[str, Any]]:
    """What TruLens says of the scores of its judges, where they differ: else it is not loaded."""
    from llmops_flows.integrations.trulens.run_diff import judge_metrics, run_diff

    metrics = judge_metrics(first.config) & judge_metrics(second.config) & set(found.scores)
    try:
        return run_diff((first.name, first.rows), (second.name, second.rows), metrics)
    except MissingExtra as missing:
        print(f"TruLens's own comparison is left out: {missing}", file=sys.stderr)
        return {}


def _steps(one: Named) -> WrittenAddresses:
    from llmops_flows.report.comparison import written_addresses

    return written_addresses(one.traces.traces(one.variant.run)) if one.variant.run else {}
