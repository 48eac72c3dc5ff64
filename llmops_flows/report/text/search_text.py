"""The results of a search for the terminal."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmops_flows.core.errors import FlowError
from llmops_flows.core.plural import plural

from .. import saved_runs
from ..run_files import relative_path
from ..search_results import SEARCH_FILE, Results, best_points
from .tables import format_table

SCORES = "scores."


def format_search(folder: Path, results: Results, ended: str, seconds: float) -> str:
    """The best point or the Pareto front, the failed points, and the commands to continue with."""
    succeeded = [trial for trial in results["trials"] if trial["figures"] is not None]
    best = _ranked(results, [trial for trial in succeeded if trial["number"] in results["best"]])
    parts = [_board(folder, results)]
    if len(results["objectives"]) > 1 and best:
        parts.append(_front(results, best, len(succeeded)))
    elif best:
        parts.append(_best(best, len(succeeded)))
    else:
        parts.append("no point has results\n")
    failed = [trial for trial in results["trials"] if trial["cause"]]
    parts += [f"point {t['number']} ({' '.join(t['overrides'])}) failed:\n{_indented(t['cause'])}" for t in failed]
    parts.append(_end(folder, results, best, ended, seconds))
    return "\n".join(part for part in parts if part)


def _board(folder: Path, results: Results) -> str:
    from .. import leaderboard
    from . import leaderboard_text

    names = [objective["name"] for objective in results["objectives"]]
    scores = [name.removeprefix(SCORES) for name in names if name.startswith(SCORES)]
    try:
        points, lost = saved_runs.read_sweep(folder)
        sort = scores[0] if scores else None
        return leaderboard_text.format_leaderboard(
            leaderboard.leaderboard(points, sort=sort, lost=lost, front=best_points(folder))
        )
    except FlowError:
        return ""


def _ranked(results: Results, trials: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The trials by their first objective."""
    first = results["objectives"][0]
    return sorted(trials, key=lambda t: t["figures"][first["name"]], reverse=first["direction"] == "maximize")


def _front(results: Results, best: Sequence[Mapping[str, Any]], count: int) -> str:
    names = [objective["name"] for objective in results["objectives"]]
    better = ["more" if objective["direction"] == "maximize" else "less" for objective in results["objectives"]]
    heads = [f"{name} ({direction})" for name, direction in zip(names, better, strict=True)]
    rows = [[" ".join(t["overrides"]), str(t["number"]), *(f"{t['figures'][n]:.4g}" for n in names)] for t in best]
    head = f"Pareto front: {len(best)} of {plural(count, 'point')}: no other point is better in all objectives"
    return f"{head}\n\n{format_table(['point', '#', *heads], rows, stretch=1)}\n"


def _best(best: Sequence[Mapping[str, Any]], count: int) -> str:
    ((name, figure),) = best[0]["figures"].items()
    others = ", ".join(str(trial["number"]) for trial in best[1:9]) + (" …" if len(best) > 9 else "")
    head = f"best of {plural(count, 'point')} by {name}: {best[0]['number']} ({figure:.4g})"
    equal = f"; tied with it: {others}" if others else ""
    return f"{head}{equal}\n    {' '.join(best[0]['overrides'])}\n"


def _end(folder: Path, results: Results, best: Sequence[Mapping[str, Any]], ended: str, seconds: float) -> str:
    tried, requested = len(results["trials"]), results["asked"]
    cause = f"; {ended}" if ended else ""
    left_out = f"; {results['left_out']} proposals left out by sweep.where" if results["left_out"] else ""
    lines = [f"{tried} of {plural(requested, 'point')} tried in {seconds:.1f} s{cause}{left_out}"]
    if best:
        words = [*results["fixed"], *best[0]["overrides"]]
        lines.append(f"run it:   python -m llmops_flows {' '.join(map(shlex.quote, words))}")
        lines.append(f"keep it:  python -m llmops_flows promote {relative_path(folder) / str(best[0]['number'])} NAME")
    lines.append(f"{relative_path(folder) / SEARCH_FILE}   study {results['study']}")
    return "\n".join(lines) + "\n"


def _indented(cause: str) -> str:
    return "".join(f"    {line}\n" for line in cause.splitlines())
