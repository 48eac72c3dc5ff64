"""Results as text: a table a person can read, then the totals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmops_flows.core.plural import plural
from llmops_flows.core.record import Record

from ..summary import is_empty, latency
from .tables import format_table

_SHOWN = ("answer_correctness", "groundedness", "hit")
_WORTH_TELLING = 0.05


def results_table(records: Sequence[Record], width: int = 0) -> str:
    """One line a question: question, answer, verdict, the main scores, latency. Long texts end in an ellipsis."""
    metrics = [name for name in _SHOWN if any(record.scores.get(name) is not None for record in records)]
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
    """error, blocked, empty, fixed or ok."""
    if record.error is not None:
        return "error"
    if record.ended:
        return "blocked"
    if is_empty(record):
        return "empty"
    actions = {str(v.get("action")) for v in record.verdicts.values()}
    return "fixed" if "fix" in actions else "ok"


def totals_text(summary: Mapping[str, Any]) -> str:
    """The totals of a summary, a line each."""
    usage, waited, first = summary["usage"], summary["latency"], summary["first_token"]
    errors, judging = summary["errors"], summary.get("judging") or {}
    lines = [
        f"{summary['answered']} of {summary['records']} answered, {summary['refused']} of them refused, "
        + (f"{summary['empty']} of them empty, " if summary["empty"] else "")
        + f"in {summary['seconds']:.1f} s",
        f"latency p50 {_seconds(waited['p50'])}, p95 {_seconds(waited['p95'])}; "
        f"first token p50 {_seconds(first['p50'])}",
        f"tokens {usage.get('input_tokens', 0)} in, {usage.get('output_tokens', 0)} out; "
        f"cost {usage.get('cost_usd', 0.0):.4f} USD",
    ]
    lines += [budget_text(summary["budget"])] if "budget" in summary else []
    lines += _loading(summary["loading"])
    if any(counts.get("known") for counts in summary["stages"].values()):
        lines.append(_anew(summary["uncached"]))
    if judging:
        tokens = f"{judging.get('input_tokens', 0)} in, {judging.get('output_tokens', 0)} out"
        lines.append(f"  of them for judging: tokens {tokens}; cost {judging.get('cost_usd', 0.0):.4f} USD")
    if errors["records"] or errors["evaluations"]:
        lines.append(
            f"errors: {plural(errors['records'], 'record')} ({errors['rate']:.0%}), "
            f"{plural(errors['evaluations'], 'evaluation')}"
        )
        lines += [f"  {count} x {cause}" for cause, count in errors["causes"].items()]
    return "\n".join(lines)


def budget_text(found: Mapping[str, Any]) -> str:
    """What was spent of a budget, and what is left."""
    words = {"usd": ("USD", ".6g"), "tokens": ("tokens", ".0f"), "minutes": ("minutes", ".2f")}
    parts = []
    for name, (unit, form) in words.items():
        if one := found.get(name):
            parts.append(f"{one['spent']:{form}} of {one['limit']:.15g} {unit} spent, {one['left']:{form}} left")
    if found["unknown"]:
        parts.append(f"counted at their worst case, for nobody knows their cost: {found['unknown']} calls")
    return f"budget: {'; '.join(parts)}"


def _loading(found: Mapping[str, float]) -> list[str]:
    """What was loaded once, by stage; nothing where that took no time worth telling."""
    shown = {stage: seconds for stage, seconds in found.items() if seconds >= _WORTH_TELLING}
    listed = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in shown.items())
    return [f"loading {sum(shown.values()):.1f} s, once and not counted as latency: {listed}"] if shown else []


def _anew(found: Mapping[str, Any]) -> str:
    waited, usage = found["latency"], found["usage"]
    return (
        f"if nothing were known: latency p50 {_seconds(waited['p50'])}, p95 {_seconds(waited['p95'])}; "
        f"tokens {usage.get('input_tokens', 0)} in, {usage.get('output_tokens', 0)} out; "
        f"cost {usage.get('cost_usd', 0.0):.4f} USD"
    )


def scores_table(summary: Mapping[str, Any]) -> str:
    """Every metric with its mean, interval and number of records; n/a where what could be scored failed.

    Where nothing failed, a metric that had nothing to say (no reference, no gold pages) is left out.
    """
    failed = any(summary["errors"][what] for what in ("records", "evaluations"))
    rows = [
        [name, format_score(found["mean"]), _range(found), str(found["n"])]
        for name, found in summary["scores"].items()
        if found["n"] or failed
    ]
    if not rows:
        return "scores n/a" if failed else ""
    return format_table(["score", "mean", "95 %", "n"], rows)


def stages_table(summary: Mapping[str, Any]) -> str:
    """Stage by stage, what was known and what was computed."""
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


def _range(found: Mapping[str, Any]) -> str:
    return "n/a" if found["low"] is None else f"{found['low']:.2f} to {found['high']:.2f}"
