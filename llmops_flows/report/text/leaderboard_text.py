"""The leaderboard for the terminal: a table that fits its width, and the findings as sentences."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence

from llmops_flows.core.plural import plural

from ..leaderboard import Leaderboard, LeaderboardRow
from ..metrics import lower_is_better
from .tables import Column, cut, fit, output_width, table_lines

_NARROWEST = 60
_STYLES = {"better": "32", "worse": "31", "no real difference": "2", "baseline": "1"}


def format_leaderboard(board: Leaderboard, *, width: int = 0, color: bool = False) -> str:
    """The leaderboard as text, with no line wider than `width` characters (at least 60).

    width: by default, that of the output. color: with ANSI styles, unless NO_COLOR is set.
    """
    width = max(width or output_width(), _NARROWEST)
    columns = _columns(board, styled=color and not os.environ.get("NO_COLOR"))
    fitting = fit(columns, width)
    left_out = [column.head for column in columns if column not in fitting]
    sentences = summary_sentences(board)
    if left_out:
        sentences.append(f"no room for: {', '.join(left_out)} (--csv and --json have all columns)")
    paragraphs = (textwrap.fill(sentence, width, break_on_hyphens=False) for sentence in sentences)
    return "\n".join([_head(board), *table_lines(fitting), "", *paragraphs, ""])


def _head(board: Leaderboard) -> str:
    by = f", sorted by {board.metric}" if board.metric else ""
    less = " (less is better)" if lower_is_better(board.metric) else ""
    size = f"{plural(len(board.rows), 'point')} x {plural(board.questions, 'question')}"
    return f"{board.flow or 'sweep'}: {size}{by}{less}"


def summary_sentences(board: Leaderboard) -> list[str]:
    """The findings: the best point, its difference to the baseline, the points that tie with it, and errors."""
    sentences = [*_best(board), *_ties(board)] if board.metric else ["no answer has a score"]
    failed = [row for row in board.rows if row.errors]
    if failed:
        count = sum(row.errors for row in failed)
        sentences.append(f"errors: {plural(count, 'answer')} in {_names(failed)}; they have no scores")
    sentences += _missing_scores(board)
    stopped = [row for row in board.rows if row.stopped]
    if stopped:
        sentences.append(f"stopped early, clearly worse than the best: {_names(stopped)}")
    if board.front:
        sentences.append("* best of the search: no other point is better in all of its objectives")
    return sentences + [f"point {name} has no results: {cause}" for name, cause in board.lost.items()]


def _best(board: Leaderboard) -> list[str]:
    best, baseline, metric = board.rows[0], board.baseline_row, board.metric
    score = best.scores[metric]
    if score.mean is None:
        return [f"no point has a score by {metric}"]
    sentence = f"best: {_label(board, best)}: {metric} {score.mean:.3f}{_interval(score.low, score.high)}"
    if best is baseline:
        return [f"{sentence}; it is the baseline" if len(board.rows) > 1 else sentence]
    difference = best.against[metric]
    p = f", p {_p(difference.adjusted)} after correction" if difference.adjusted is not None else ""
    step = "" if difference.mean is None else f", {difference.mean:+.3f}{_interval(difference.low, difference.high)}"
    questions = plural(difference.n, "question")
    return [sentence, f"against the baseline {baseline.name}: {difference.verdict}{step} on {questions}{p}"]


def _ties(board: Leaderboard) -> list[str]:
    best, *tied = (row for row in board.rows if row.tied)
    if not tied:
        return []
    sentence = f"no real difference to the best: {_names(tied)}"
    cheapest = min([best, *tied], key=lambda row: row.cost_usd)
    fastest = min([best, *tied], key=lambda row: row.p50 if row.p50 is not None else float("inf"))
    if cheapest.cost_usd < best.cost_usd:
        sentence += f"; the cheapest of them is {cheapest.name} ({_usd(cheapest.cost_usd)} USD)"
    if fastest is not best and fastest.p50 is not None:
        sentence += f"; the fastest is {fastest.name} (p50 {_seconds(fastest.p50)} s)"
    return [sentence]


def _missing_scores(board: Leaderboard) -> list[str]:
    if not board.metric:
        return []
    scores = [row.scores[board.metric] for row in board.rows]
    unscored, faulty = max(score.unscored for score in scores), sum(score.faulty for score in scores)
    sentences = []
    if unscored:
        sentences.append(f"not scored by {board.metric}: up to {plural(unscored, 'answer')} of a point")
    if faulty:
        singular = f"score by {board.metric} is not a finite number"
        many = f"scores by {board.metric} are not finite numbers"
        sentences.append(f"{plural(faulty, singular, many)}: counted as errors")
    return sentences


# -- the table -------------------------------------------------------------------------------------------------------


def _columns(board: Leaderboard, *, styled: bool) -> list[Column]:
    rows, metric = board.rows, board.metric
    columns = [Column("#", [f"{'*' if row.name in board.front else ''}{row.name}" for row in rows], right=True)]
    columns += [
        Column(key.key, [row.values[n] for row in rows], shrink=True, drop=-1) for n, key in enumerate(board.keys)
    ]
    if metric:
        verdicts = [row.against[metric].verdict for row in rows]
        columns += [
            Column(metric, [_mean(row, metric) for row in rows], right=True),
            Column("95 %", [_range(row, metric) for row in rows], right=True, drop=1),
            Column(f"vs {board.baseline_row.name}", [_step(row, metric) for row in rows], right=True),
            Column("verdict", verdicts, styles=[_STYLES.get(verdict, "") if styled else "" for verdict in verdicts]),
        ]
    figures = [
        ("errors", [str(row.errors or "") for row in rows]),
        ("p50 s", [_seconds(row.p50) for row in rows]),
        ("USD", [_usd(row.cost_usd) if row.cost_usd else "" for row in rows]),
        ("known", [f"{row.known_share:.0%}" for row in rows]),
        ("p95 s", [_seconds(row.p95) for row in rows]),
        ("tokens", [_tokens(row) for row in rows]),
        *((name, [_mean(row, name) for row in rows]) for name in board.metrics if name != metric),
    ]
    columns += [Column(head, cells, right=True, drop=2 + n) for n, (head, cells) in enumerate(figures)]
    return [column for column in columns if any(column.cells)]


def _label(board: Leaderboard, row: LeaderboardRow) -> str:
    """The name of a point, and the config values that distinguish it."""
    values = ", ".join(f"{key.key}={cut(value, 40)}" for key, value in zip(board.keys, row.values, strict=True))
    return f"{row.name} ({cut(values, 120)})" if values else row.name


def _names(rows: Sequence[LeaderboardRow], most: int = 8) -> str:
    names = ", ".join(row.name for row in rows[:most])
    return names + (f" and {len(rows) - most} more" if len(rows) > most else "")


def _mean(row: LeaderboardRow, metric: str) -> str:
    mean = row.scores[metric].mean
    return "n/a" if mean is None else f"{mean:.3f}"


def _range(row: LeaderboardRow, metric: str) -> str:
    score = row.scores[metric]
    return "" if score.low is None or score.high is None else f"{score.low:.2f} to {score.high:.2f}"


def _step(row: LeaderboardRow, metric: str) -> str:
    difference = row.against[metric]
    return "" if difference.mean is None or difference.verdict == "baseline" else f"{difference.mean:+.3f}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" (95 %: {low:.3f} to {high:.3f})"


def _p(value: float | None) -> str:
    return "n/a" if value is None else "< 0.0001" if value < 0.0001 else f"{value:.2g}"


def _seconds(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}" if value < 1 else f"{value:.1f}"


def _usd(value: float) -> str:
    return f"{value:.4f}" if value < 1 else f"{value:.2f}"


def _tokens(row: LeaderboardRow) -> str:
    count = row.input_tokens + row.output_tokens
    return "" if not count else f"{count / 1000:.1f}k" if count >= 10_000 else str(count)
