"""What the HTML page of a sweep shows, as compact plain data: every text once, every answer of a question once."""

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
"""Variants x rows that a page shows at most."""
MAX_CHARACTERS = 32_000_000
"""Characters of all answers and questions together, at most."""
_LENGTHS = (20_000, 5000, 2000, 1000, 500, 250, 120, 60)
_VALUE = 2000
_STATES = ("known", "similar", "shared", "computed", "skipped", "failed")


@dataclass
class _Texts:
    """Texts by their number, each kept once and cut to a length."""

    length: int
    numbers: dict[str, int] = field(default_factory=dict)
    cut: int = 0

    def number(self, text: Any) -> int:
        """The number of a text; -1 for none."""
        if text is None:
            return -1
        whole = str(text)
        if whole not in self.numbers:
            self.numbers[whole] = len(self.numbers)
            self.cut += len(whole) > self.length
        return self.numbers[whole]

    def list(self) -> list[str]:
        return [redact(t if len(t) <= self.length else t[: self.length] + " …") for t in self.numbers]


def page_data(variants: Sequence[SavedRun], board: Leaderboard) -> dict[str, Any]:
    """The data of the page; `cut` says in sentences what a page that would be too large leaves out."""
    rows = list(dict.fromkeys(str(row.get("id")) for variant in variants for row in variant.rows))
    lines, columns, cut = _bounded(board, rows)
    texts = _Texts(_length(variants))
    first = {str(row.get("id")): row for variant in reversed(variants) for row in variant.rows}
    questions = [[redact(id), texts.number(first[id].get("question")), texts.number(first[id].get("reference"))]
                 for id in columns]  # fmt: skip
    outcomes, cells = _outcomes([variants[line.index] for line in lines], board, columns, texts)
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
        "said": [redact(sentence) for sentence in summary_sentences(board)],
        "cut": cut,
        "variants": [_variant(line, board.metrics) for line in lines],
        "questions": questions,
        "outcomes": outcomes,
        "cells": cells,
        "stages": _stages([variants[line.index] for line in lines]),
        "texts": texts.list(),
    }  # fmt: skip


def _bounded(board: Leaderboard, rows: list[str]) -> tuple[list[LeaderboardRow], list[str], list[str]]:
    """The variants and rows that are shown, and what is left out: the worst variants first, never the baseline."""
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


def _length(variants: Sequence[SavedRun]) -> int:
    """To how many characters a text is cut, so that all of them have room."""
    keys = ("question", "reference", "answer", "error")
    lengths = [len(text) for text in {str(row.get(key) or "") for v in variants for row in v.rows for key in keys}]
    fitting = (most for most in _LENGTHS if sum(min(length, most) for length in lengths) <= MAX_CHARACTERS)
    return next(fitting, _LENGTHS[-1])


def _outcomes(
    variants: Sequence[SavedRun], board: Leaderboard, columns: Sequence[str], texts: _Texts
) -> tuple[list[list[Any]], list[list[int]]]:
    """For each question its different outcomes (answer, error, scores), and for each variant which one is its own."""
    places = {id: n for n, id in enumerate(columns)}
    seen: list[dict[tuple[Any, ...], int]] = [{} for _ in columns]
    cells = []
    for variant in variants:
        mine = [-1] * len(columns)
        for row in variant.rows:
            place = places.get(str(row.get("id")))
            if place is not None:
                outcome = _outcome(row, board.metrics, texts)
                mine[place] = seen[place].setdefault(outcome, len(seen[place]))
        cells.append(mine)
    return [[list(outcome) for outcome in one] for one in seen], cells


def _outcome(row: Mapping[str, Any], metrics: Sequence[str], texts: _Texts) -> tuple[Any, ...]:
    error = row.get("error")
    scores = {} if error else row.get("scores") or {}
    answer = texts.number(None if error else row.get("answer"))
    return (answer, texts.number(error), *(_number(scores.get(metric)) for metric in metrics))


def _variant(line: LeaderboardRow, metrics: Sequence[str]) -> dict[str, Any]:
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


def _stages(variants: Sequence[SavedRun]) -> dict[str, Any]:
    """Stage by stage for each variant: how often in which state, seconds spent, seconds if nothing were known."""
    names = list(dict.fromkeys(s for v in variants for row in v.rows for s in row.get("stages") or {}))
    return {
        "names": names, "states": list(_STATES),
        "variants": [[counts[name] for name in names] for counts in (_counted(v, names) for v in variants)],
    }  # fmt: skip


def _counted(variant: SavedRun, names: Sequence[str]) -> dict[str, list[float]]:
    counts: dict[str, list[float]] = {name: [0.0] * (len(_STATES) + 2) for name in names}
    for row in variant.rows:
        took = row.get("took") or {}
        for stage, state in (row.get("stages") or {}).items():
            mine, seconds = counts[stage], took.get(stage, 0.0)
            if state in _STATES:
                mine[_STATES.index(state)] += 1
            mine[-2] += seconds if state in ("computed", "failed") else 0.0
            mine[-1] += seconds
    return {name: [round(value, 4) for value in mine] for name, mine in counts.items()}


def _number(value: Any, digits: int = 4) -> float | None:
    """A number that JSON can hold, shortly."""
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return round(value, digits)
