"""`promote RUN NAME`: writes conf/flow/NAME.yaml, so that `flow=NAME` does from now on what that run did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.core.plural import plural
from llmops_flows.core.redaction import redact
from llmops_flows.report.saved_runs import SWEEPS_FOLDER

from ..argv import parse
from ..run_lookup import Named, named

if TYPE_CHECKING:
    from llmops_flows.config.promotion.promote import Promotion
    from llmops_flows.report.saved_runs import SavedRun

BEST = "best"
_MOST = 3


def main(arguments: Sequence[str]) -> int:
    """Write the file, and say what it rests on. Returns 0. `best` is the first on the last sweep's leaderboard."""
    from llmops_flows.config.promotion.promote import promote

    words, flags, _ = parse(arguments, ("--force",))
    if len(words) != 2:
        hint = "promote RUN NAME [--force]; RUN may be the number of a point of the last sweep, or best"
        raise ConfigError(Problem("a run is promoted to a name", hint=hint))
    word, name = words
    with named(_best() if word == BEST else word) as [one]:
        variant = one.variant
        done = promote(
            name, variant.config, variant.choices, comments=_comments(variant), identities=_identities(one),
            force="--force" in flags,
        )  # fmt: skip
    done.write()
    print("\n".join(_text(done, name)))
    return 0


def _best() -> str:
    """The first on the board of the last sweep; after a search the first of those that it found best."""
    from llmops_flows.report import leaderboard, saved_runs, search_results

    folder = saved_runs.latest_sweep(SWEEPS_FOLDER)
    points, _ = saved_runs.read_sweep(folder)
    lines, front = leaderboard.leaderboard(points).rows, search_results.best_points(folder)
    best = next((line for line in lines if line.name in front), lines[0])
    return str(points[best.index].folder)


def _identities(one: Named) -> Mapping[str, str]:
    """Stage to its identity in the run, where that is on record."""
    stored = one.traces.stored(one.variant.run) if one.variant.run else {}
    steps = (step for trace in stored.values() if trace is not None for step in trace["steps"])
    return {step["stage"]: step["identity"] for step in steps if step["identity"]}


def _comments(variant: SavedRun) -> Iterator[str]:
    """Where it comes from. Nothing in it but ids, a place below here and figures."""
    from llmops_flows.report.metrics import METRIC_ORDER

    day = datetime.now().astimezone().date()
    folder = variant.folder
    place = f", {folder.as_posix()}" if folder is not None and not folder.is_absolute() else ""
    yield redact(f"Promoted on {day} from the run {variant.run[:12] or '?'}{place}.")
    scores: Mapping[str, Any] = variant.summary.get("scores") or {}
    means = {name: (scores.get(name) or {}).get("mean") for name in METRIC_ORDER}
    told = [f"{name} {mean:.3f}" for name, mean in means.items() if mean is not None]
    if told:
        yield f"Scores over {plural(int(variant.summary.get('records') or 0), 'answer')}: {', '.join(told[:_MOST])}."


def _text(done: Promotion, name: str) -> Iterator[str]:
    from llmops_flows.report.config_differences import one_line

    yield f"{done.path}"
    width = max(map(len, done.options), default=0)
    for option, place in done.options.items():
        yield f"  rests on  {option:<{width}}  {place}"
    for target in done.own:
        yield f"  rests on  {target}  your own component"
    for key, value in done.left.items():
        yield f"  left out  {key}={one_line(redact(str(value)))}: it belongs to the run"
    for key in done.null:
        yield f"  set null  {key}: the run did without it, which a file cannot say"
    if done.changed:
        why = "its settings" if done.null else "its code or its documents"
        yield f"  changed   {', '.join(done.changed)}: not what it was in that run ({why}), so it computes anew"
    else:
        yield f"every stage is what it was in that run: what is known of it is known to flow={name}"
    yield f"python -m llmops_flows flow={name}"
