"""The leaderboard of a sweep as data: every variant with its scores, price, speed, errors and verdict."""

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
from .score_table import Difference, Score, ScoreTable
from .statistics.intervals import quantile

_UNSAID = "budget."
"""Keys that set no variant apart: an unfinished sweep may go on with another budget, and its answers are the same."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class LeaderboardRow:
    """One variant on the board.

    Attributes:
        rank: 1 for the best. index: the position of the run among those ranked.
        values: its values of the config keys that vary, as text.
        scores, against: metric to its mean, and to its difference to the baseline.
        tied: no real difference to the best variant by the metric that sorts.
        cost_usd, input_tokens, output_tokens: of all its questions, if nothing had been known.
        p50, p95: seconds that an answer takes when nothing is known, scoring apart; None without answers.
        errors: rows that failed. rows: all rows. known_share: share of stage answers that were not computed.
        stopped: it was worse than the best beyond doubt, and was not asked all questions.
    """

    rank: int
    index: int
    name: str
    run: str
    values: tuple[str, ...]
    scores: Mapping[str, Score]
    against: Mapping[str, Difference]
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
    """All variants, the best first. `lost`: points without results, and why. `front`: what a search found best."""

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
        """The baseline's line."""
        return next(line for line in self.rows if line.index == self.baseline)


def leaderboard(
    variants: Sequence[SavedRun],
    *,
    sort: str | None = None,
    baseline: int = 0,
    lost: Mapping[str, str] | None = None,
    front: frozenset[str] = frozenset(),
) -> Leaderboard:
    """Rank variants by a metric (the best first; those that were stopped early, then those without a score last).

    baseline: the position of the variant that the others are compared with.

    Raises:
        FlowError: no variant has the metric, or there is no such baseline.
    """
    table = ScoreTable(variants)
    if not 0 <= baseline < len(variants):
        raise FlowError(f"there is no variant {baseline} to compare with: they are numbered 0 to {len(variants) - 1}")
    scores = table.scores()
    metric = _metric(table, scores, sort)
    against = table.against(baseline)
    order = sorted(range(len(variants)), key=lambda v: (*_rank(variants[v], scores[v].get(metric), metric), v))
    best = table.against(order[0], [metric] if metric else [])
    varying = [axis for axis in differing_keys(variants) if not axis.key.startswith(_UNSAID)]
    lines = tuple(
        _line(place, v, variants[v], tuple(axis.text(v) for axis in varying), scores[v], against[v],
              tied=place == 1 or best[v][metric].verdict == "no real difference" if metric else False)
        for place, v in enumerate(order, 1)
    )  # fmt: skip
    flow = str(variants[0].config.get("name") or variants[0].summary.get("flow") or "")
    metrics = tuple(
        sorted(table.metrics, key=lambda m: (m != metric, METRIC_ORDER.index(m) if m in METRIC_ORDER else 99, m))
    )
    return Leaderboard(flow, metric, baseline, metrics, tuple(varying), lines, len(table.questions), lost or {}, front)


def _metric(table: ScoreTable, scores: Sequence[Mapping[str, Score]], asked: str | None) -> str:
    if asked is not None:
        if asked not in table.metrics:
            raise FlowError(f"no variant was scored by {asked!r}; {did_you_mean(asked, table.metrics)}")
        return asked
    there = [m for m in table.metrics if any(found[m].n for found in scores)]
    return next((m for m in METRIC_ORDER if m in there), there[0] if there else "")


def _rank(variant: SavedRun, score: Score | None, metric: str) -> tuple[bool, bool, float]:
    stopped = bool(variant.summary.get("stopped"))
    if score is None or score.mean is None:
        return True, stopped, 0.0
    return False, stopped, score.mean if lower_is_better(metric) else -score.mean


def _line(
    place: int, position: int, variant: SavedRun, varying: tuple[str, ...], scores: Mapping[str, Score],
    against: Mapping[str, Difference], *, tied: bool,
) -> LeaderboardRow:  # fmt: skip
    totals = [answer_figures(variant, row) for row in variant.rows]
    waits = [one["seconds"] for one, row in zip(totals, variant.rows, strict=True) if not row.get("error")]
    return LeaderboardRow(
        place, position, variant.name, variant.run, varying, scores, against, tied,
        sum(one["cost_usd"] for one in totals),
        sum(one["input_tokens"] for one in totals),
        sum(one["output_tokens"] for one in totals),
        quantile(waits, 0.5), quantile(waits, 0.95),
        sum(1 for row in variant.rows if row.get("error")), len(variant.rows), known_share(variant.rows),
        bool(variant.summary.get("stopped")),
    )  # fmt: skip


def answer_figures(variant: SavedRun, row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row's answer costs and takes when nothing is known: cost_usd, tokens, seconds (scoring apart)."""
    usage = row.get("full_usage") or row.get("usage") or {}
    took = row.get("took")
    seconds = sum(s for stage, s in took.items() if variant.in_flow(stage)) if took else row.get("seconds") or 0.0
    read, written = usage.get("input_tokens") or 0, usage.get("output_tokens") or 0
    return {
        "cost_usd": usage.get("cost_usd") or 0.0,
        "input_tokens": read,
        "output_tokens": written,
        "tokens": read + written,
        "seconds": seconds,
    }


def known_share(rows: Sequence[Mapping[str, Any]]) -> float:
    """The share of stage answers that were known (of an equal or a similar question), or computed for another."""
    states = [state for row in rows for state in (row.get("stages") or {}).values() if state != "skipped"]
    return sum(1 for state in states if state in ("known", "similar", "shared")) / len(states) if states else 0.0


# -- as files --------------------------------------------------------------------------------------------------------


def as_data(found: Leaderboard) -> dict[str, Any]:
    """The board as plain data, for JSON."""
    return {
        "flow": found.flow,
        "metric": found.metric,
        "baseline": found.baseline_row.name,
        "questions": found.questions,
        "lost": dict(found.lost),
        "front": sorted(found.front, key=int),
        "points": [_line_data(found, line) for line in found.rows],
    }


def _line_data(found: Leaderboard, line: LeaderboardRow) -> dict[str, Any]:
    return {
        "place": line.rank,
        "name": line.name,
        "run": line.run,
        "config": {a.key: _value(a, line) for a in found.keys},
        "scores": {metric: asdict(score) for metric, score in line.scores.items()},
        "against_baseline": {metric: asdict(difference) for metric, difference in line.against.items()},
        "as_good_as_the_best": line.tied,
        **_figures(line),
    }


def _value(axis: DifferingKey, line: LeaderboardRow) -> Any:
    value = axis.values[line.index]
    return value if isinstance(value, (str, int, float, bool, list, dict, type(None))) else None


def _figures(line: LeaderboardRow) -> dict[str, Any]:
    return {
        "cost_usd": line.cost_usd, "input_tokens": line.input_tokens, "output_tokens": line.output_tokens,
        "latency_p50": line.p50, "latency_p95": line.p95, "errors": line.errors, "rows": line.rows,
        "known": line.known_share,
    }  # fmt: skip


def as_csv(found: Leaderboard) -> str:
    """The board as CSV, a line each variant. Texts that a spreadsheet would take for a formula are quoted for it."""
    out = io.StringIO()
    lines = [_flat(found, line) for line in found.rows]
    writer = csv.DictWriter(out, list(dict.fromkeys(key for line in lines for key in line)), lineterminator="\n")
    writer.writeheader()
    writer.writerows({_inert(key): _inert(value) for key, value in line.items()} for line in lines)
    return out.getvalue()


def _flat(found: Leaderboard, line: LeaderboardRow) -> dict[str, Any]:
    flat: dict[str, Any] = {"place": line.rank, "name": line.name, "run": line.run}
    flat |= {axis.key: text for axis, text in zip(found.keys, line.values, strict=True)}
    for metric in found.metrics:
        score, difference = line.scores[metric], line.against[metric]
        flat |= {metric: score.mean, f"{metric}.low": score.low, f"{metric}.high": score.high, f"{metric}.n": score.n}
        flat |= {f"{metric}.difference": difference.mean, f"{metric}.difference.low": difference.low}
        flat |= {f"{metric}.difference.high": difference.high, f"{metric}.p": difference.adjusted}
        flat |= {f"{metric}.verdict": difference.verdict}
    return flat | _figures(line)


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
