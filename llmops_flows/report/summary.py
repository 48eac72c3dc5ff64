"""The summary of a run: scores with intervals, latency, tokens, cost, errors, and the states of its stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from llmops_flows.core.errors import BudgetExceeded
from llmops_flows.core.record import Record, Span, Usage, add_usage, question_id

from .statistics.intervals import mean_interval, quantile, question_means

_STATES = ("known", "similar", "computed", "shared", "skipped", "failed")


def summarize(records: Sequence[Record], *, seconds: float = 0.0) -> dict[str, Any]:
    """Totals of a run as plain data.

    Failed records are left out of every mean and counted in `errors`, with their causes (`unpaid`: the budget was
    exceeded). The mean of a metric without scores is None. Latency (seconds) and cost (US dollars) are per answer,
    for what this run computed, without scoring (`judging`). `loading`, stage to seconds, is not part of the latency:
    a process loads a model or an index once. Intervals are those of `statistics.intervals`.
    """
    failed = [record for record in records if record.error is not None]
    succeeded = [record for record in records if record.error is None]
    failed_scoring = [
        span for record in succeeded for span in record.spans if span.state == "failed" and is_scoring(record, span)
    ]
    usage, judging = Usage(), Usage()
    for record in records:
        usage, judging = add_usage(usage, record.usage), add_usage(judging, computed_usage(record, on_scores=True))
    latencies = [latency(record) for record in succeeded]
    costs = [computed_usage(record, on_scores=False).get("cost_usd", 0.0) for record in succeeded]
    first = [span.first_token for r in records for span in r.spans if span.first_token is not None]
    causes = Counter(f"{getattr(r.error, 'stage', '')}: {r.error}".lstrip(": ") for r in failed)
    causes.update(f"{span.stage}: {span.error}" for span in failed_scoring)
    return {
        "records": len(records),
        "answered": len(records) - len(failed),
        "refused": sum(1 for record in records if record.ended),
        "empty": sum(1 for record in succeeded if is_empty(record)),
        "errors": {"records": len(failed), "rate": len(failed) / len(records) if records else 0.0,
                   "evaluations": len(failed_scoring), "causes": dict(causes),
                   "unpaid": sum(isinstance(record.error, BudgetExceeded) for record in failed)},
        "seconds": seconds,
        "latency": {"p50": quantile(latencies, 0.5), "p95": quantile(latencies, 0.95),
                    **mean_interval(latencies)._asdict()},
        "cost": mean_interval(costs)._asdict(),
        "first_token": {"p50": quantile(first, 0.5), "p95": quantile(first, 0.95)},
        "loading": loading(records),
        "usage": dict(usage),
        "judging": dict(judging),
        "uncached": uncached_totals(succeeded),
        "stages": stages(records),
        "scores": scores(records),
    }  # fmt: skip


def uncached_totals(records: Sequence[Record]) -> dict[str, Any]:
    """Latency and cost without the cache and without scoring: known answers count as when they were computed."""
    latencies = [sum(max(s.took, s.seconds) for s in r.spans if not is_scoring(r, s)) for r in records]
    usage = Usage()
    for record in records:
        usage = add_usage(usage, full_usage(record))
    return {"latency": {"p50": quantile(latencies, 0.5), "p95": quantile(latencies, 0.95)}, "usage": dict(usage)}


def is_scoring(record: Record, span: Span) -> bool:
    """Whether a span belongs to an evaluator: it wrote scores, or failed or was skipped without failing the record."""
    if f"scores/{span.stage}" in record.slots:
        return True
    # A stage of a Fallback (its name has a dot) may also fail without failing the record.
    return record.error is None and span.state in ("failed", "skipped") and "." not in span.stage


def latency(record: Record) -> float:
    """Seconds of the answer in this run, without scoring."""
    return sum(span.seconds for span in record.spans if not is_scoring(record, span))


def is_empty(record: Record) -> bool:
    """Whether the answer is empty."""
    return not str(record.answer if record.answer is not None else "").strip()


def loading(records: Sequence[Record]) -> dict[str, float]:
    """Stage to the seconds of loading its models and indexes, once for all answers of the process."""
    seconds: dict[str, float] = {}
    for span in (span for record in records for span in record.spans if span.loading):
        seconds[span.stage] = seconds.get(span.stage, 0.0) + span.loading
    return {stage: round(value, 3) for stage, value in seconds.items()}


def computed_usage(record: Record, *, on_scores: bool) -> Usage:
    """Tokens and cost of the computed answers: of the evaluators, or of all other stages."""
    total = Usage()
    for span in record.spans:
        if span.state == "computed" and is_scoring(record, span) is on_scores:
            total = add_usage(total, span.usage)
    return total


def stages(records: Sequence[Record]) -> dict[str, dict[str, int]]:
    """Stage to the number of records in each state."""
    counts_of: dict[str, Counter[str]] = {}
    for record in records:
        for span in record.spans:
            counts_of.setdefault(span.stage, Counter())[span.state] += 1
    return {name: {state: counts[state] for state in _STATES if counts[state]} for name, counts in counts_of.items()}


def scores(records: Sequence[Record]) -> dict[str, dict[str, Any]]:
    """Metric to mean, 95 % interval and number of questions scored; records with an error are left out.

    The samples of a question count as one value, their mean, because they are not independent.
    """
    values: dict[str, list[tuple[str, Any]]] = {}
    for record in records:
        if record.error is None:
            for metric, score in record.scores.items():
                values.setdefault(metric, []).append((question_id(record.id, record.sample), score))
    return {
        metric: mean_interval(list(question_means(samples).values()))._asdict()
        for metric, samples in sorted(values.items())
    }


def results_row(record: Record) -> dict[str, Any]:
    """One line of results.jsonl."""
    return {
        "id": record.id,
        "sample": record.sample,
        "question": record.get("question"),
        "answer": record.answer,
        "reference": record.get("reference"),
        "error": str(record.error) if record.error is not None else None,
        "ended": record.ended or None,
        "scores": record.scores,
        "verdicts": {name: dict(verdict) for name, verdict in record.verdicts.items()},
        "usage": dict(record.usage),
        "stages": {span.stage: span.state for span in record.spans},
        "similar_to": next((s.notes.get("similar_question") for s in record.spans if s.state == "similar"), None),
        "seconds": round(latency(record), 6),
        "took": stage_seconds(record),
        "full_usage": dict(full_usage(record)),
    }


def stage_seconds(record: Record) -> dict[str, float]:
    """Stage to the seconds of computing its answer, also where the answer was known."""
    seconds: dict[str, float] = {}
    for span in record.spans:
        seconds[span.stage] = round(seconds.get(span.stage, 0.0) + max(span.took, span.seconds), 6)
    return seconds


def full_usage(record: Record) -> Usage:
    """Tokens and cost without the cache and without scoring: known answers cost as when they were computed."""
    total = Usage()
    for span in record.spans:
        if not is_scoring(record, span):
            total = add_usage(total, span.usage)
    return total
