"""The results of a run for the terminal: tables and totals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmops_flows.core.plural import plural
from llmops_flows.core.record import Record

from ..summary import is_empty, latency
from .tables import format_table

_TABLE_METRICS = ("answer_correctness", "groundedness", "hit")
_MIN_LOADING = 0.05


def results_table(records: Sequence[Record], width: int = 0) -> str:
    """A table with the question, answer, verdict, main scores and latency of each record."""
    metrics = [name for name in _TABLE_METRICS if any(record.scores.get(name) is not None for record in records)]
    heads = ["question", "answer", "verdict", *(_short(name) for name in metrics), "seconds"]
    rows = [
        [
            str(record.get("question", "")),
            _answer(record),
            verdict(record),
            *(format_score(record.scores.get(name)) for name in metrics),
            f"{latency(record):.2f}",
        ]
        for record in records
    ]
    return format_table(heads, rows, width, stretch=2)


def verdict(record: Record) -> str:
    """The outcome of a record: error, blocked, empty, fixed or ok."""
    if record.error is not None:
        return "error"
    if record.ended:
        return "blocked"
    if is_empty(record):
        return "empty"
    actions = {str(v.get("action")) for v in record.verdicts.values()}
    return "fixed" if "fix" in actions else "ok"


def totals_text(summary: Mapping[str, Any]) -> str:
    """The totals of a summary, one per line."""
    seconds, first = summary["latency"], summary["first_token"]
    errors, judging = summary["errors"], summary.get("judging") or {}
    lines = [
        f"{summary['answered']} of {summary['records']} answered, {summary['refused']} of them refused, "
        + (f"{summary['empty']} of them empty, " if summary["empty"] else "")
        + f"in {summary['seconds']:.1f} s",
        f"latency p50 {_seconds(seconds['p50'])}, p95 {_seconds(seconds['p95'])}; "
        f"first token p50 {_seconds(first['p50'])}",
        _usage(summary["usage"]),
    ]
    lines += [budget_text(summary["budget"])] if "budget" in summary else []
    lines += _loading(summary["loading"])
    if any(counts.get("known") for counts in summary["stages"].values()):
        lines.append(_uncached(summary["uncached"]))
    if judging:
        lines.append(f"  of them for judging: {_usage(judging)}")
    if errors["records"] or errors["evaluations"]:
        lines.append(
            f"errors: {plural(errors['records'], 'record')} ({errors['rate']:.0%}), "
            f"{plural(errors['evaluations'], 'evaluation')}"
        )
        lines += [f"  {count} x {cause}" for cause, count in errors["causes"].items()]
    return "\n".join(lines)


def budget_text(budget: Mapping[str, Any]) -> str:
    """The spent and remaining parts of a budget."""
    formats = {"usd": ("USD", ".6g"), "tokens": ("tokens", ".0f"), "minutes": ("minutes", ".2f")}
    parts = []
    for name, (unit, form) in formats.items():
        if amount := budget.get(name):
            parts.append(
                f"{amount['spent']:{form}} of {amount['limit']:.15g} {unit} spent, {amount['left']:{form}} left"
            )
    if budget["unknown"]:
        parts.append(f"{plural(budget['unknown'], 'call')} of unknown cost counted at the maximum")
    return f"budget: {'; '.join(parts)}"


def _loading(loading: Mapping[str, float]) -> list[str]:
    """The stages with a noticeable loading time."""
    shown = {stage: seconds for stage, seconds in loading.items() if seconds >= _MIN_LOADING}
    listed = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in shown.items())
    return [f"loading {sum(shown.values()):.1f} s, once, not part of the latency: {listed}"] if shown else []


def _uncached(totals: Mapping[str, Any]) -> str:
    seconds = totals["latency"]
    latencies = f"latency p50 {_seconds(seconds['p50'])}, p95 {_seconds(seconds['p95'])}"
    return f"without the cache: {latencies}; {_usage(totals['usage'])}"


def _usage(usage: Mapping[str, Any]) -> str:
    tokens = f"tokens {usage.get('input_tokens', 0)} in, {usage.get('output_tokens', 0)} out"
    return f"{tokens}; cost {usage.get('cost_usd', 0.0):.4f} USD"


def scores_table(summary: Mapping[str, Any]) -> str:
    """Every metric with its mean, interval and number of questions.

    A metric without any score is n/a where records or evaluations failed, and is left out otherwise.
    """
    failed = any(summary["errors"][what] for what in ("records", "evaluations"))
    rows = [
        [name, format_score(score["mean"]), _range(score), str(score["n"])]
        for name, score in summary["scores"].items()
        if score["n"] or failed
    ]
    if not rows:
        return "scores n/a" if failed else ""
    return format_table(["score", "mean", "95 %", "n"], rows)


def stages_table(summary: Mapping[str, Any]) -> str:
    """Every stage with the number of records in each state."""
    states = ("known", "similar", "computed", "shared", "skipped", "failed")
    used = [state for state in states if any(counts.get(state) for counts in summary["stages"].values())]
    rows = [[name, *(str(counts.get(state, 0)) for state in used)] for name, counts in summary["stages"].items()]
    return format_table(["stage", *used], rows)


def format_score(value: float | None) -> str:
    """A score with two digits, or n/a."""
    return "n/a" if value is None else f"{value:.2f}"


def _answer(record: Record) -> str:
    return f"({record.error})" if record.error is not None else str(record.answer or "")


def _short(metric: str) -> str:
    return {"answer_correctness": "correct", "groundedness": "grounded"}.get(metric, metric)


def _seconds(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f} s"


def _range(score: Mapping[str, Any]) -> str:
    return "n/a" if score["low"] is None else f"{score['low']:.2f} to {score['high']:.2f}"
