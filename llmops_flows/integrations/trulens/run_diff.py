"""TruLens's own comparison of two runs (`RunDiff`), over the scores that its judges gave."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from llmops_flows.artifacts.lazy_import import load

from .provider import EXTRA

Rows = Sequence[Mapping[str, Any]]
_HOME = "llmops_flows.components.evaluator.trulens."


@dataclass(frozen=True)
class _Scored:
    """What TruLens asks of a run: its name, and a line for each answer that was scored."""

    run_name: str
    rows: Rows
    metrics: Sequence[str]

    def get_records(self) -> Any:
        pandas = load("pandas", EXTRA)
        lines = [
            {
                "record_id": str(row["id"]),
                "input": row.get("question") or "",
                **{metric: (row.get("scores") or {}).get(metric) for metric in self.metrics},
            }
            for row in self.rows
        ]
        return pandas.DataFrame(lines).astype(dict.fromkeys(self.metrics, "float64"))


def judge_metrics(config: Mapping[str, Any]) -> set[str]:
    """The metrics of a config that TruLens's judges give."""
    parts = (config.get("evaluator") or {}).values()
    ours = (one for one in parts if isinstance(one, Mapping) and str(one.get("_target_", "")).startswith(_HOME))
    return {f"judged_{one.get('metric')}" for one in ours}


def run_diff(first: tuple[str, Rows], second: tuple[str, Rows], metrics: set[str]) -> dict[str, dict[str, Any]]:
    """Metric to TruLens's `MetricDiff` as plain data, of the metrics in which two runs differ on any question.

    A run is its name and its lines of results.jsonl. Questions are matched by their text, as TruLens does.

    Raises:
        MissingExtra: TruLens is not installed.
    """
    rows = [[row for row in rows if not row.get("error")] for _, rows in (first, second)]
    names = sorted(m for m in metrics if all(any(_score(row, m) is not None for row in part) for part in rows))
    texts = [{row.get("question") or "" for row in part} for part in rows]
    if not names or not texts[0] & texts[1]:
        return {}
    compare = load("trulens.core.run", EXTRA, "the comparison of judged scores").compare_runs
    runs = [_Scored(name, part, names) for (name, _), part in zip((first, second), rows, strict=True)]
    found = compare(*runs, metric_directions=dict.fromkeys(names, True))
    plain = {name: _plain(asdict(metric)) for name, metric in found.metrics.items()}
    return {name: metric for name, metric in plain.items() if any(_moved(item) for item in metric["items"])}


def _score(row: Mapping[str, Any], metric: str) -> Any:
    return (row.get("scores") or {}).get(metric)


def _moved(item: Mapping[str, Any]) -> bool:
    return bool(item["score_a"] != item["score_b"])


def _plain(value: Any) -> Any:
    """The same with None for NaN, which JSON does not know."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value
