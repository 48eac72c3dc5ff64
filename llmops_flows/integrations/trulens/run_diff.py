"""TruLens's comparison of two runs (`RunDiff`), over the scores of its judges."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from llmops_flows.artifacts.lazy_import import load

from .provider import EXTRA

Rows = Sequence[Mapping[str, Any]]
_JUDGE_MODULE = "llmops_flows.components.evaluator.trulens."


@dataclass(frozen=True)
class _ScoredRun:
    """The interface that TruLens's `compare_runs` needs: a name and a table of scored answers."""

    run_name: str
    rows: Rows
    metrics: Sequence[str]

    def get_records(self) -> Any:
        pandas = load("pandas", EXTRA)
        records = [
            {
                "record_id": str(row["id"]),
                "input": row.get("question") or "",
                **{metric: (row.get("scores") or {}).get(metric) for metric in self.metrics},
            }
            for row in self.rows
        ]
        return pandas.DataFrame(records).astype(dict.fromkeys(self.metrics, "float64"))


def judge_metrics(config: Mapping[str, Any]) -> set[str]:
    """The metrics of a config that TruLens's judges score."""
    parts = (config.get("evaluator") or {}).values()
    judges = (p for p in parts if isinstance(p, Mapping) and str(p.get("_target_", "")).startswith(_JUDGE_MODULE))
    return {f"judged_{judge.get('metric')}" for judge in judges}


def run_diff(first: tuple[str, Rows], second: tuple[str, Rows], metrics: set[str]) -> dict[str, dict[str, Any]]:
    """TruLens's `MetricDiff` as plain data, for each metric whose scores differ on any question.

    A run is its name and its rows of results.jsonl. TruLens matches questions by their text.

    Raises:
        MissingExtra: TruLens is not installed.
    """
    rows = [[row for row in rows if not row.get("error")] for _, rows in (first, second)]
    names = sorted(m for m in metrics if all(any(_score(row, m) is not None for row in run) for run in rows))
    texts = [{row.get("question") or "" for row in run} for run in rows]
    if not names or not texts[0] & texts[1]:
        return {}
    compare = load("trulens.core.run", EXTRA, "the comparison of judged scores").compare_runs
    runs = [_ScoredRun(name, part, names) for (name, _), part in zip((first, second), rows, strict=True)]
    diff = compare(*runs, metric_directions=dict.fromkeys(names, True))
    metric_diffs = {name: _plain(asdict(metric)) for name, metric in diff.metrics.items()}
    return {
        name: metric
        for name, metric in metric_diffs.items()
        if any(item["score_a"] != item["score_b"] for item in metric["items"])
    }


def _score(row: Mapping[str, Any], metric: str) -> Any:
    return (row.get("scores") or {}).get(metric)


def _plain(value: Any) -> Any:
    """The value with None for NaN, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value
