"""The leaderboard of a sweep as data: every point with its scores, cost, latency, errors and verdict."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from llmops_flows.core.errors import FlowError
from llmops_flows.text.suggestions import did_you_mean

from .config_differences import DifferingKey, differing_keys
from .metrics import METRIC_ORDER, lower_is_better
from .saved_runs import SavedRun
from .score_table import Score, ScoreDifference, ScoreTable
from .statistics.intervals import quantile

_IGNORED_KEYS = "budget."
"""Keys that are left out: a sweep may be resumed with another budget, which does not change its answers."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class LeaderboardRow:
    """One point on the leaderboard.

    Attributes:
        rank: 1 for the best. index: the position of the run in the argument of `leaderboard`.
        values: those of the config keys that differ, as text.
        scores, against: metric to its mean, and to the difference to the baseline.
        tied: no real difference to the best point by the sort metric.
        cost_usd, input_tokens, output_tokens: of all questions, without the cache.
        p50, p95: seconds of an answer without the cache and without scoring; None without answers.
        errors: rows that failed. rows: all rows. known_share: share of stage answers that were not computed.
        stopped: it was clearly worse than the best point, and did not run all questions.
    """

    rank: int
    index: int
    name: str
    run: str
    values: tuple[str, ...]
    scores: Mapping[str, Score]
    against: Mapping[str, ScoreDifference]
    tied: bool
    cost_usd: float
    input_tokens: int
    output_tokens: int
    p50: float | None
    p95: float | None
    errors: int
    rows: int
    known_share: float
    stopped: bool = False


@dataclass(frozen=True)
class Leaderboard:
    """All points, the best first. `lost`: points without results, and why. `front`: the best points of a search."""

    flow: str
    metric: str
    baseline: int
    metrics: tuple[str, ...]
    keys: tuple[DifferingKey, ...]
    rows: tuple[LeaderboardRow, ...]
    questions: int
    lost: Mapping[str, str] = field(default_factory=dict)
    front: frozenset[str] = frozenset()

    @property
    def baseline_row(self) -> LeaderboardRow:
        """The row of the baseline."""
        return next(row for row in self.rows if row.index == self.baseline)


def leaderboard(
    runs: Sequence[SavedRun],
    *,
    sort: str | None = None,
    baseline: int = 0,
    lost: Mapping[str, str] | None = None,
    front: frozenset[str] = frozenset(),
) -> Leaderboard:
    """Rank runs by a metric: the best first, then those that stopped early, then those without a score.

    sort: the metric; by default, the first of `METRIC_ORDER` that was scored.
    baseline: the position of the run that the others are compared with.

    Raises:
        FlowError: the metric or the baseline is unknown.
    """
    table = ScoreTable(runs)
    if not 0 <= baseline < len(runs):
        raise FlowError(f"unknown baseline {baseline}: the runs are numbered 0 to {len(runs) - 1}")
    scores = table.scores()
    metric = _metric(table, scores, sort)
    against = table.against(baseline)
    order = sorted(range(len(runs)), key=lambda v: (*_rank(runs[v], scores[v].get(metric), metric), v))
    best = table.against(order[0], [metric] if metric else [])
    varying = [axis for axis in differing_keys(runs) if not axis.key.startswith(_IGNORED_KEYS)]
    rows = tuple(
        _row(place, v, runs[v], tuple(axis.text(v) for axis in varying), scores[v], against[v],
              tied=place == 1 or best[v][metric].verdict == "no real difference" if metric else False)
        for place, v in enumerate(order, 1)
    )  # fmt: skip
    flow = str(runs[0].config.get("name") or runs[0].summary.get("flow") or "")
    metrics = tuple(
        sorted(table.metrics, key=lambda m: (m != metric, METRIC_ORDER.index(m) if m in METRIC_ORDER else 99, m))
    )
    return Leaderboard(flow, metric, baseline, metrics, tuple(varying), rows, len(table.questions), lost or {}, front)


def _metric(table: ScoreTable, scores: Sequence[Mapping[str, Score]], metric: str | None) -> str:
    if metric is not None:
        if metric not in table.metrics:
            raise FlowError(f"no run has a score by {metric!r}; {did_you_mean(metric, table.metrics)}")
        return metric
    scored = [m for m in table.metrics if any(run_scores[m].n for run_scores in scores)]
    return next((m for m in METRIC_ORDER if m in scored), scored[0] if scored else "")


def _rank(run: SavedRun, score: Score | None, metric: str) -> tuple[bool, bool, float]:
    stopped = bool(run.summary.get("stopped"))
    if score is None or score.mean is None:
        return True, stopped, 0.0
    return False, stopped, score.mean if lower_is_better(metric) else -score.mean


def _row(
    place: int, position: int, run: SavedRun, varying: tuple[str, ...], scores: Mapping[str, Score],
    against: Mapping[str, ScoreDifference], *, tied: bool,
) -> LeaderboardRow:  # fmt: skip
    totals = [answer_figures(run, row) for row in run.rows]
    latencies = [figures["seconds"] for figures, row in zip(totals, run.rows, strict=True) if not row.get("error")]
    return LeaderboardRow(
        place, position, run.name, run.run, varying, scores, against, tied,
        sum(figures["cost_usd"] for figures in totals),
        sum(figures["input_tokens"] for figures in totals),
        sum(figures["output_tokens"] for figures in totals),
        quantile(latencies, 0.5), quantile(latencies, 0.95),
        sum(1 for row in run.rows if row.get("error")), len(run.rows), known_share(run.rows),
        bool(run.summary.get("stopped")),
    )  # fmt: skip


def answer_figures(run: SavedRun, row: Mapping[str, Any]) -> dict[str, Any]:
    """Cost, tokens and seconds of the answer of a row without the cache and without scoring."""
    usage = row.get("full_usage") or row.get("usage") or {}
    took = row.get("took")
    seconds = sum(s for stage, s in took.items() if run.in_flow(stage)) if took else row.get("seconds") or 0.0
    read, written = usage.get("input_tokens") or 0, usage.get("output_tokens") or 0
    return {
        "cost_usd": usage.get("cost_usd") or 0.0,
        "input_tokens": read,
        "output_tokens": written,
        "tokens": read + written,
        "seconds": seconds,
    }


def known_share(rows: Sequence[Mapping[str, Any]]) -> float:
    """The share of stage answers that were known, also from a similar question, or shared with another row."""
    states = [state for row in rows for state in (row.get("stages") or {}).values() if state != "skipped"]
    return sum(1 for state in states if state in ("known", "similar", "shared")) / len(states) if states else 0.0


# -- as files --------------------------------------------------------------------------------------------------------


def as_data(board: Leaderboard) -> dict[str, Any]:
    """The leaderboard as plain data, for JSON."""
    return {
        "flow": board.flow,
        "metric": board.metric,
        "baseline": board.baseline_row.name,
        "questions": board.questions,
        "lost": dict(board.lost),
        "front": sorted(board.front, key=int),
        "points": [_row_data(board, row) for row in board.rows],
    }


def _row_data(board: Leaderboard, row: LeaderboardRow) -> dict[str, Any]:
    return {
        "rank": row.rank,
        "name": row.name,
        "run": row.run,
        "config": {axis.key: _value(axis, row) for axis in board.keys},
        "scores": {metric: asdict(score) for metric, score in row.scores.items()},
        "against_baseline": {metric: asdict(difference) for metric, difference in row.against.items()},
        "as_good_as_the_best": row.tied,
        **_figures(row),
    }


def _value(axis: DifferingKey, row: LeaderboardRow) -> Any:
    value = axis.values[row.index]
    return value if isinstance(value, (str, int, float, bool, list, dict, type(None))) else None


def _figures(row: LeaderboardRow) -> dict[str, Any]:
    return {
        "cost_usd": row.cost_usd, "input_tokens": row.input_tokens, "output_tokens": row.output_tokens,
        "latency_p50": row.p50, "latency_p95": row.p95, "errors": row.errors, "rows": row.rows,
        "known": row.known_share,
    }  # fmt: skip


def as_csv(board: Leaderboard) -> str:
    """The leaderboard as CSV, one line per point. Texts that a spreadsheet would run as formulas start with a quote."""
    out = io.StringIO()
    lines = [_flat(board, row) for row in board.rows]
    writer = csv.DictWriter(out, list(dict.fromkeys(key for line in lines for key in line)), lineterminator="\n")
    writer.writeheader()
    writer.writerows({_without_formula(key): _without_formula(value) for key, value in line.items()} for line in lines)
    return out.getvalue()


def _flat(board: Leaderboard, row: LeaderboardRow) -> dict[str, Any]:
    flat: dict[str, Any] = {"rank": row.rank, "name": row.name, "run": row.run}
    flat |= {axis.key: text for axis, text in zip(board.keys, row.values, strict=True)}
    for metric in board.metrics:
        score, difference = row.scores[metric], row.against[metric]
        flat |= {metric: score.mean, f"{metric}.low": score.low, f"{metric}.high": score.high, f"{metric}.n": score.n}
        flat |= {f"{metric}.difference": difference.mean, f"{metric}.difference.low": difference.low}
        flat |= {f"{metric}.difference.high": difference.high, f"{metric}.p": difference.adjusted}
        flat |= {f"{metric}.verdict": difference.verdict}
    return flat | _figures(row)


def _without_formula(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
