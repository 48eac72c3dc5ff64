"""Write conf/flow/NAME.yaml, so that flow=NAME reproduces a run.

The file holds only what differs from the flow of the run. Prints what the new
flow depends on and which stages would compute again.

Examples:
  llmops-flows promote best support_v2
  llmops-flows promote outputs/2026-01-31/12-00-00 support_v2 --force
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from llmops_flows.config.promotion.promote import Promotion, promote
from llmops_flows.core.plural import plural
from llmops_flows.core.redaction import redact
from llmops_flows.report import leaderboard, saved_runs, search_results
from llmops_flows.report.config_differences import one_line
from llmops_flows.report.metrics import METRIC_ORDER
from llmops_flows.report.saved_runs import SWEEPS_FOLDER, SavedRun

from ..run_lookup import RUN, NamedRun, named_runs

BEST = "best"
_MAX_SCORES = 3


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=f"{RUN}; or `best`, the best point of the last sweep")
    parser.add_argument("name", metavar="NAME", help="of the new flow: letters, digits, - and _")
    parser.add_argument("--force", action="store_true", help="overwrite the file")


def main(arguments: Namespace) -> int:
    with named_runs(_best_point() if arguments.run == BEST else arguments.run) as [named]:
        promotion = promote(
            arguments.name, named.saved.config, named.saved.choices, comments=_comments(named.saved),
            identities=_identities(named), force=arguments.force,
        )  # fmt: skip
    promotion.write()
    print("\n".join(_text(promotion, arguments.name)))
    return 0


def _best_point() -> str:
    """The folder of the first point on the leaderboard of the last sweep; after a search, of its best trials."""
    folder = saved_runs.latest_sweep(SWEEPS_FOLDER)
    points, _ = saved_runs.read_sweep(folder)
    rows, front = leaderboard.leaderboard(points).rows, search_results.best_points(folder)
    best = next((row for row in rows if row.name in front), rows[0])
    return str(points[best.index].folder)


def _identities(named: NamedRun) -> Mapping[str, str]:
    """Stage to its identity in the run, where that is recorded."""
    traces = named.traces.stored(named.saved.run) if named.saved.run else {}
    steps = (step for trace in traces.values() if trace is not None for step in trace["steps"])
    return {step["stage"]: step["identity"] for step in steps if step["identity"]}


def _comments(saved: SavedRun) -> Iterator[str]:
    """The origin of the file: ids, a relative path and scores only, no text of the run."""
    day = datetime.now().astimezone().date()
    folder = saved.folder
    place = f", {folder.as_posix()}" if folder is not None and not folder.is_absolute() else ""
    yield redact(f"Promoted on {day} from the run {saved.run[:12] or '?'}{place}.")
    scores: Mapping[str, Any] = saved.summary.get("scores") or {}
    means = {name: (scores.get(name) or {}).get("mean") for name in METRIC_ORDER}
    listed = [f"{name} {mean:.3f}" for name, mean in means.items() if mean is not None][:_MAX_SCORES]
    if listed:
        yield f"Scores over {plural(int(saved.summary.get('records') or 0), 'answer')}: {', '.join(listed)}."


def _text(promotion: Promotion, name: str) -> Iterator[str]:
    yield f"{promotion.path}"
    width = max(map(len, promotion.options), default=0)
    for option, place in promotion.options.items():
        yield f"  uses      {option:<{width}}  {place}"
    for target in promotion.own:
        yield f"  uses      {target}  your own component"
    for key, value in promotion.left.items():
        yield f"  left out  {key}={one_line(redact(str(value)))}: a setting of the run, not of the flow"
    for key in promotion.null:
        yield f"  set null  {key}: the run did not have it, and a file cannot remove it"
    if promotion.changed:
        cause = "settings" if promotion.null else "code or documents"
        yield f"  changed   {', '.join(promotion.changed)}: new {cause} since that run; computed again"
    else:
        yield f"every stage is the same as in that run: flow={name} reuses its answers"
    yield f"python -m llmops_flows flow={name}"
