"""The comparison of two runs for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmops_flows.core.plural import plural

from ..comparison import Comparison, MetricChange, RowChange
from ..config_differences import one_line
from .tables import cut, format_table, output_width

_MOST = 5
_TEXT_LINES = 40


def format_comparison(comparison: Comparison, *, width: int = 0, most: int = _MOST) -> str:
    """The comparison as text, with at most `most` answers and errors; width: by default, that of the output."""
    if comparison.identical:
        return f"{comparison.first} and {comparison.second} do not differ: same config, answers and scores\n"
    width = (width or output_width()) - 2
    sections = [
        ("config", _config(comparison, width)),
        *((f"text of {key}", list(lines[:_TEXT_LINES])) for key, lines in comparison.texts.items()),
        ("scores", _scores(comparison, width)),
        ("scores of TruLens's judges, by its RunDiff", _judged(comparison, width)),
        ("cost and latency of an answer", _figures(comparison, width)),
        ("first stage that differs", _stages(comparison)),
        ("errors", _changes(comparison.errors, comparison.rows, width, most)),
        ("answers", _changes(comparison.answers, comparison.rows, width, most)),
        ("questions", _questions(comparison)),
    ]
    texts = [f"{comparison.first} -> {comparison.second}"]
    texts += [f"\n{head}\n" + "\n".join(f"  {line}" for line in lines) for head, lines in sections if lines]
    return "\n".join(texts) + "\n"


def _config(comparison: Comparison, width: int) -> list[str]:
    rows = [(key, one_line(first), one_line(second)) for key, (first, second) in comparison.config.items()]
    return _table(["key", comparison.first, comparison.second], rows, width, stretch=3)


def _scores(comparison: Comparison, width: int) -> list[str]:
    rows = [[name, *_numbers(change, 3), change.difference.verdict] for name, change in comparison.scores.items()]
    lines = _table(["metric", "difference", "95 %", "p", "n", "verdict"], rows, width)
    for name, change in comparison.scores.items():
        for direction, ids in (("improved", change.improved), ("regressed", change.regressed)):
            if ids:
                lines.append(f"{name} {direction} ({len(ids)}): {_some(ids)}")
    return lines


def _judged(comparison: Comparison, width: int) -> list[str]:
    rows = [
        [name, *_run_diff(result), f"{result['n_regressed']} of {result['n_items']}"]
        for name, result in comparison.judged.items()
    ]
    return _table(["metric", "difference", "95 %", "p", "regressed"], rows, width)


def _run_diff(result: Mapping[str, Any]) -> list[str]:
    numbers = [result[name] for name in ("mean_delta", "ci_lower", "ci_upper")]
    mean, low, high = ("n/a" if number is None else f"{number:+.3f}" for number in numbers)
    interval = "n/a" if "n/a" in (low, high) else f"{low} to {high}"
    return [mean, interval, "n/a" if result["p_value"] is None else f"{result['p_value']:.4f}"]


def _figures(comparison: Comparison, width: int) -> list[str]:
    rows = [[name, *_numbers(change, 5)] for name, change in comparison.figures.items()]
    return _table(["figure", "difference", "95 %", "p", "n"], rows, width)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int, *, stretch: int = 0) -> list[str]:
    return format_table(heads, rows, width, stretch=stretch).splitlines() if rows else []


def _numbers(change: MetricChange, digits: int) -> list[str]:
    step = change.difference
    if step.mean is None:
        return ["n/a", "n/a", "n/a", str(step.n)]
    interval = "n/a" if step.low is None or step.high is None else f"{step.low:+.{digits}f} to {step.high:+.{digits}f}"
    p = "n/a" if step.p is None else "< 0.0001" if step.p < 0.0001 else f"{step.p:.4f}"
    return [f"{step.mean:+.{digits}f}", interval, p, str(step.n)]


def _stages(comparison: Comparison) -> list[str]:
    if comparison.diverged_at is None:
        return ["unknown: the traces of both runs are needed"] if comparison.answers else []
    return [f"{stage}: {count} of {plural(comparison.rows, 'row')}" for stage, count in comparison.stages.items()]


def _changes(changes: Sequence[RowChange], rows: int, width: int, most: int) -> list[str]:
    def lines() -> Iterator[str]:
        yield f"{len(changes)} of {rows} changed"
        for change in changes[:most]:
            yield f"{change.id}: {_cut(change.question, width - len(change.id) - 2)}"
            yield f"  - {_cut(change.before or '(none)', width - 4)}"
            yield f"  + {_cut(change.after or '(none)', width - 4)}"
        if len(changes) > most:
            yield f"and {len(changes) - most} more: --json prints all"

    return list(lines()) if changes else []


def _questions(comparison: Comparison) -> list[str]:
    pairs = ((comparison.first, comparison.only_first), (comparison.second, comparison.only_second))
    return [f"only in {name}: {_some(ids)}" for name, ids in pairs if ids]


def _some(ids: Sequence[str], most: int = 8) -> str:
    return ", ".join(ids[:most]) + (f" and {len(ids) - most} more" if len(ids) > most else "")


def _cut(text: str, width: int) -> str:
    return cut(one_line(text), max(2, width))
