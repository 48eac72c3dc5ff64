"""Print what a sweep resumes, and its results."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from llmops_flows.core.errors import FlowError
from llmops_flows.engine.plan import PlanCheck
from llmops_flows.report import leaderboard, saved_runs
from llmops_flows.report.run_files import relative_path
from llmops_flows.report.saved_runs import SWEEPS_FOLDER
from llmops_flows.report.text import leaderboard_text

from .grid.points import Point
from .outcome import PointOutcome
from .planning import plan_stages
from .resume import SweepStart


def print_resumed(start: SweepStart, count: int, *, isolated: bool) -> None:
    """Print what changed since the last run of the sweep, and how many of its `count` points are finished."""
    for change in start.changes:
        where = "" if len(change.points) == count else f" (at {len(change.points)} of {count} points)"
        print(f"changed since the last run of this sweep: {change}{where}")
    if start.outdated:
        new = {name: len(plan.new) for name, plan in plan_stages(start.outdated, isolated=isolated).items()}
        stages = ", ".join(f"{name} {number}" for name, number in new.items() if number)
        print(f"{len(start.outdated)} finished points run again: {stages or 'nothing new, every result is cached'}")
    if start.finished:
        print(f"resumed: {len(start.finished)} of {count} points finished, in {relative_path(start.folder)}")


def print_results(
    points: Sequence[Point],
    folder: Path,
    outcomes: Sequence[PointOutcome],
    resumed: int,
    seconds: float,
    check: PlanCheck,
) -> None:
    """Print the leaderboard, the failures, and the folder of the results."""
    has_results = any(outcome.summary for outcome in outcomes)
    if has_results:
        try:
            runs, _ = saved_runs.read_sweep(folder)
            print(leaderboard_text.format_leaderboard(leaderboard.leaderboard(runs)), end="")
        except FlowError as error:
            print(error)
    for line in [*_failures(points, outcomes), *_less_than_planned(check)]:
        print(line)
    counts = {
        "resumed": resumed,
        "failed": sum(outcome.failed and not outcome.invalid for outcome in outcomes),
        "invalid": sum(outcome.invalid for outcome in outcomes),
        "stopped early": sum("stopped" in outcome.summary for outcome in outcomes),
        "not run": len(points) - len(outcomes),
        "duplicates of other points": sum(point.same_as is not None for point in points),
    }
    finished = sum(not outcome.failed for outcome in outcomes)
    details = "".join(f"; {count} {label}" for label, count in counts.items() if count)
    print(f"\n{finished} of {len(points)} points finished in {seconds:.1f} s{details}")
    report = f"   python -m llmops_flows board {_board_argument(folder)}--report" if has_results else ""
    print(f"{relative_path(folder)}{report}")


def _board_argument(folder: Path) -> str:
    """The argument that passes the folder to `board`; "" for the last sweep, which is the default."""
    try:
        if saved_runs.latest_sweep(SWEEPS_FOLDER).samefile(folder):
            return ""
    except (FlowError, OSError):
        pass
    return f"{shlex.quote(str(relative_path(folder)))} "


def _less_than_planned(check: PlanCheck) -> Iterator[str]:
    """A line for each reason why fewer results were computed than planned."""
    reasons = {
        "equal": "their inputs were equal",
        "known": "they were cached",
        "unreached": "a guardrail or a failure ended the flow before them",
    }
    for reason, text in reasons.items():
        counts = {name: getattr(outcome, reason) for name, outcome in check.stages.items()}
        if stages := ", ".join(f"{name} {count}" for name, count in counts.items() if count):
            yield f"fewer than planned, because {text}: {stages}"


def _failures(points: Sequence[Point], outcomes: Sequence[PointOutcome]) -> Iterator[str]:
    """Every failure with its cause; points that fail for the same cause are listed together."""
    overrides = {point.number: " ".join(point.overrides) for point in points}
    numbers_by_cause: dict[tuple[str, bool], list[int]] = {}
    for outcome in sorted(outcomes, key=lambda outcome: outcome.number):
        for cause in [outcome.failure] if outcome.failure else outcome.causes:
            numbers_by_cause.setdefault((cause, outcome.invalid), []).append(outcome.number)
    for (cause, invalid), numbers in numbers_by_cause.items():
        for number in numbers:
            yield f"point {number} ({overrides[number]}) {'was not run' if invalid else 'failed'}:"
        first, *others = cause.splitlines() or [""]
        yield f"  - {first}"
        yield from (f"    {line}" for line in others)
