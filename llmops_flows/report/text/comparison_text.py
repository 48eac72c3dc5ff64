"""A comparison of two variants for the terminal."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmops_flows.core.plural import plural

from ..comparison import Comparison, MetricChange, RowChange
from ..config_differences import one_line
from .tables import format_table

_MOST = 5
_LINES = 40


def format_comparison(found: Comparison, *, width: int | None = None, most: int = _MOST) -> str:
    """The comparison as text, at most so many answers and questions of a kind; equal variants say so in one line."""
    if found.identical:
        return f"{found.first} and {found.second} do not differ: same config, answers and scores\n"
    width = width or shutil.get_terminal_size((120, 24)).columns
    parts = [
        ("config", _config(found, width)),
        *((f"text of {key}", list(lines[:_LINES])) for key, lines in found.texts.items()),
        ("scores", _scores(found, width)),
        ("scores of TruLens's judges, by its RunDiff", _judged(found, width)),
        ("cost and latency of an answer", _figures(found, width)),
        ("where the runs part", _stages(found)),
        ("errors", _changes(found.errors, found.rows, width, most)),
        ("answers", _changes(found.answers, found.rows, width, most)),
        ("questions", _alone(found)),
    ]
    whole = [f"{found.first} -> {found.second}"]
    whole += [f"\n{head}\n" + "\n".join(f"  {line}" for line in lines) for head, lines in parts if lines]
    return "\n".join(whole) + "\n"


def _config(found: Comparison, width: int) -> list[str]:
    rows = [(key, one_line(one), one_line(other)) for key, (one, other) in found.config.items()]
    return format_table(["key", found.first, found.second], rows, width - 2, stretch=3).splitlines() if rows else []


def _scores(found: Comparison, width: int) -> list[str]:
    rows = [[name, *_movement(moved, 3), moved.difference.verdict] for name, moved in found.scores.items()]
    if not rows:
        return []
    lines = format_table(["metric", "difference", "95 %", "p", "n", "verdict"], rows, width - 2).splitlines()
    for name, moved in found.scores.items():
        for word, ids in (("improved", moved.improved), ("regressed", moved.regressed)):
            if ids:
                lines.append(f"{name} {word} ({len(ids)}): {_few(ids)}")
    return lines


def _judged(found: Comparison, width: int) -> list[str]:
    rows = [[name, *_difference(said), f"{said['n_regressed']} of {said['n_items']}"]
            for name, said in found.judged.items()]  # fmt: skip
    return (
        format_table(["metric", "difference", "95 %", "p", "regressed"], rows, width - 2).splitlines() if rows else []
    )


def _difference(said: Mapping[str, Any]) -> list[str]:
    numbers = [said[name] for name in ("mean_delta", "ci_lower", "ci_upper", "p_value")]
    mean, low, high, p = ("n/a" if n is None else f"{n:+.3f}" for n in numbers)
    span = "n/a" if "n/a" in (low, high) else f"{low} to {high}"
    return [mean, span, p if p == "n/a" else f"{numbers[3]:.4f}"]


def _figures(found: Comparison, width: int) -> list[str]:
    rows = [[name, *_movement(moved, 5)] for name, moved in found.figures.items()]
    return format_table(["figure", "difference", "95 %", "p", "n"], rows, width - 2).splitlines() if rows else []


def _movement(moved: MetricChange, digits: int) -> list[str]:
    step = moved.difference
    if step.mean is None:
        return ["n/a", "n/a", "n/a", str(step.n)]
    span = "n/a" if step.low is None or step.high is None else f"{step.low:+.{digits}f} to {step.high:+.{digits}f}"
    p = "n/a" if step.p is None else "< 0.0001" if step.p < 0.0001 else f"{step.p:.4f}"
    return [f"{step.mean:+.{digits}f}", span, p, str(step.n)]


def _stages(found: Comparison) -> list[str]:
    if found.diverged_at is None:
        return ["not known: the runs' traces are not at hand"] if found.answers else []
    return [f"{stage}: {count} of {plural(found.rows, 'row')}" for stage, count in found.stages.items()]


def _changes(changes: Sequence[RowChange], rows: int, width: int, most: int) -> list[str]:
    def lines() -> Iterator[str]:
        yield f"{len(changes)} of {rows} changed"
        for change in changes[:most]:
            yield f"{change.id}: {_cut(change.question, width - len(change.id) - 4)}"
            yield f"  - {_cut(change.before or '(none)', width - 6)}"
            yield f"  + {_cut(change.after or '(none)', width - 6)}"
        if len(changes) > most:
            yield f"and {len(changes) - most} more: --json has all"

    return list(lines()) if changes else []


def _alone(found: Comparison) -> list[str]:
    pairs = ((found.first, found.only_first), (found.second, found.only_second))
    return [f"only in {name}: {_few(ids)}" for name, ids in pairs if ids]


def _few(ids: Sequence[str], most: int = 8) -> str:
    return ", ".join(ids[:most]) + (f" and {len(ids) - most} more" if len(ids) > most else "")


def _cut(value: str, width: int) -> str:
    line = one_line(value)
    return line if len(line) <= width else line[: max(1, width - 1)] + "…"
