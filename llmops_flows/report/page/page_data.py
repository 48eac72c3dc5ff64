"""The data of the HTML page. Equal texts, and equal answers to a question, are stored once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmops_flows.core.plural import plural
from llmops_flows.core.redaction import redact

from ..leaderboard import Leaderboard, LeaderboardRow
from ..metrics import lower_is_better
from ..saved_runs import SavedRun
from ..text.leaderboard_text import summary_sentences

MAX_CELLS = 250_000
"""The maximum number of points x rows on a page."""
MAX_CHARACTERS = 32_000_000
"""The maximum number of characters of all answers and questions together."""
_LENGTHS = (20_000, 5000, 2000, 1000, 500, 250, 120, 60)
_VALUE = 2000
_STATES = ("known", "similar", "shared", "computed", "skipped", "failed")


@dataclass
class _Texts:
    """Numbered texts, each once and cut to a length."""

    length: int
    numbers: dict[str, int] = field(default_factory=dict)
    cut: int = 0

    def number(self, text: Any) -> int:
        """The number of a text; -1 for none."""
        if text is None:
            return -1
        string = str(text)
        if string not in self.numbers:
            self.numbers[string] = len(self.numbers)
            self.cut += len(string) > self.length
        return self.numbers[string]

    def list(self) -> list[str]:
        return [redact(t if len(t) <= self.length else t[: self.length] + " …") for t in self.numbers]


def page_data(runs: Sequence[SavedRun], board: Leaderboard) -> dict[str, Any]:
    """The data of the page. `cut`: sentences on what is left out if the page would be too large."""
    rows = list(dict.fromkeys(str(row.get("id")) for run in runs for row in run.rows))
    lines, columns, cut = _bounded(board, rows)
    texts = _Texts(_length(runs))
    first = {str(row.get("id")): row for run in reversed(runs) for row in run.rows}
    questions = [[redact(id), texts.number(first[id].get("question")), texts.number(first[id].get("reference"))]
                 for id in columns]  # fmt: skip
    outcomes, cells = _outcomes([runs[row.index] for row in lines], board, columns, texts)
    if texts.cut:
        cut.append(
            f"{plural(texts.cut, 'text is', 'texts are')} cut to {texts.length} characters; results.jsonl has all"
        )
    return {
        "title": board.flow or "sweep",
        "baseline": next((n for n, line in enumerate(lines) if line.index == board.baseline), 0),
        "metric": max(0, board.metrics.index(board.metric)) if board.metric else -1,
        "metrics": [[metric, lower_is_better(metric)] for metric in board.metrics],
        "axes": [redact(axis.key) for axis in board.keys],
        "findings": [redact(sentence) for sentence in summary_sentences(board)],
        "cut": cut,
        "points": [_point(line, board.metrics) for line in lines],
        "questions": questions,
        "outcomes": outcomes,
        "cells": cells,
        "stages": _stages([runs[row.index] for row in lines]),
        "texts": texts.list(),
    }  # fmt: skip


def _bounded(board: Leaderboard, rows: list[str]) -> tuple[list[LeaderboardRow], list[str], list[str]]:
    """The points and rows to show, and sentences on the rest. The worst points are left out, but not the baseline."""
    columns = rows[: MAX_CELLS // 10]
    most = max(10, MAX_CELLS // max(1, len(columns)))
    lines = list(board.rows[:most])
    if len(board.rows) > most and board.baseline_row not in lines:
        lines[-1] = board.baseline_row
    cut = []
    if len(lines) < len(board.rows):
        cut.append(f"the best {len(lines)} of {len(board.rows)} points are shown; board --csv has all of them")
    if len(columns) < len(rows):
        cut.append(f"the first {len(columns)} of {len(rows)} answers of a point are shown")
    return lines, columns, cut


def _length(runs: Sequence[SavedRun]) -> int:
    """The length to which texts are cut, so that all of them fit."""
    keys = ("question", "reference", "answer", "error")
    lengths = [len(text) for text in {str(row.get(key) or "") for run in runs for row in run.rows for key in keys}]
    fitting = (most for most in _LENGTHS if sum(min(length, most) for length in lengths) <= MAX_CHARACTERS)
    return next(fitting, _LENGTHS[-1])


def _outcomes(
    runs: Sequence[SavedRun], board: Leaderboard, columns: Sequence[str], texts: _Texts
) -> tuple[list[list[Any]], list[list[int]]]:
    """The different outcomes of each question (answer, error, scores), and their index for each point."""
    places = {id: n for n, id in enumerate(columns)}
    outcomes: list[dict[tuple[Any, ...], int]] = [{} for _ in columns]
    cells = []
    for run in runs:
        indexes = [-1] * len(columns)
        for row in run.rows:
            place = places.get(str(row.get("id")))
            if place is not None:
                outcome = _outcome(row, board.metrics, texts)
                indexes[place] = outcomes[place].setdefault(outcome, len(outcomes[place]))
        cells.append(indexes)
    return [[list(outcome) for outcome in of_question] for of_question in outcomes], cells


def _outcome(row: Mapping[str, Any], metrics: Sequence[str], texts: _Texts) -> tuple[Any, ...]:
    error = row.get("error")
    scores = {} if error else row.get("scores") or {}
    answer = texts.number(None if error else row.get("answer"))
    return (answer, texts.number(error), *(_number(scores.get(metric)) for metric in metrics))


def _point(line: LeaderboardRow, metrics: Sequence[str]) -> dict[str, Any]:
    scores, against = [line.scores[m] for m in metrics], [line.against[m] for m in metrics]
    return {
        "name": redact(line.name), "run": line.run, "values": [redact(value[:_VALUE]) for value in line.values],
        "scores": [[_number(s.mean), _number(s.low), _number(s.high), s.n, s.unscored, s.faulty] for s in scores],
        "against": [
            [_number(d.mean), _number(d.low), _number(d.high), d.n, _number(d.adjusted, 6), d.verdict, d.improved,
             d.regressed] for d in against
        ],
        "good": line.tied, "usd": _number(line.cost_usd, 6), "tokens": line.input_tokens + line.output_tokens,
        "p50": _number(line.p50), "p95": _number(line.p95), "errors": line.errors, "rows": line.rows,
        "known": _number(line.known_share),
    }  # fmt: skip


def _stages(runs: Sequence[SavedRun]) -> dict[str, Any]:
    """For each point and stage: the number of rows in each state, seconds, and seconds without the cache."""
    names = list(dict.fromkeys(s for run in runs for row in run.rows for s in row.get("stages") or {}))
    return {
        "names": names, "states": list(_STATES),
        "points": [[counts[name] for name in names] for counts in (_counted(run, names) for run in runs)],
    }  # fmt: skip


def _counted(run: SavedRun, names: Sequence[str]) -> dict[str, list[float]]:
    counts: dict[str, list[float]] = {name: [0.0] * (len(_STATES) + 2) for name in names}
    for row in run.rows:
        took = row.get("took") or {}
        for stage, state in (row.get("stages") or {}).items():
            figures, seconds = counts[stage], took.get(stage, 0.0)
            if state in _STATES:
                figures[_STATES.index(state)] += 1
            figures[-2] += seconds if state in ("computed", "failed") else 0.0
            figures[-1] += seconds
    return {name: [round(value, 4) for value in figures] for name, figures in counts.items()}


def _number(value: Any, digits: int = 4) -> float | None:
    """A finite number, rounded, or None."""
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return round(value, digits)
