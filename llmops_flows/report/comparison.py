"""The comparison of two runs: the keys, texts, answers and scores that differ, and the first stage that differs."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from llmops_flows.core.trace import Trace

from .config_differences import ABSENT, DifferingKey, differing_keys, differing_leaves
from .leaderboard import answer_figures
from .metrics import lower_is_better
from .saved_runs import SavedRun
from .score_table import ScoreDifference, ScoreTable

WrittenAddresses = Mapping[str, Mapping[str, str]]
"""Row id to the address that each stage wrote, in the order of execution."""

_LONG_TEXT = 60
FIGURES = ("cost_usd", "seconds", "tokens")


@dataclass(frozen=True)
class RowChange:
    """A row with a different answer or error. `question` is the text of the question."""

    id: str
    question: str
    before: str
    after: str


@dataclass(frozen=True)
class MetricChange:
    """The difference of a metric (second minus first), and the questions that changed, the largest change first."""

    difference: ScoreDifference
    improved: tuple[str, ...]
    regressed: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """The differences of the second run to the first. Equal values are left out.

    Attributes:
        config: config keys that differ, with both values. texts: key to the unified diff of a long text.
        answers, errors: rows with a different answer or error.
        only_first, only_second: ids of rows that only one run has.
        scores: metric to its change. figures: the same for cost_usd, seconds and tokens of an answer without the
            cache.
        judged: metric to the result of TruLens for the scores of its judges (`integrations.trulens.run_diff`).
        diverged_at: row id to the first stage with another output; None without the traces of both runs.
    """

    first: str
    second: str
    config: Mapping[str, tuple[Any, Any]]
    texts: Mapping[str, tuple[str, ...]]
    answers: tuple[RowChange, ...]
    errors: tuple[RowChange, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    scores: Mapping[str, MetricChange]
    figures: Mapping[str, MetricChange]
    diverged_at: Mapping[str, str] | None
    rows: int
    judged: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def identical(self) -> bool:
        """Whether the runs do not differ."""
        sections = (self.config, self.texts, self.answers, self.errors, self.only_first, self.only_second)
        return not any((*sections, self.scores, self.figures, self.diverged_at, self.judged))

    @property
    def stages(self) -> dict[str, int]:
        """Stage to the number of rows in which it is the first to differ, the largest number first."""
        return dict(Counter((self.diverged_at or {}).values()).most_common())


def compare(
    first: SavedRun, second: SavedRun, steps: tuple[WrittenAddresses, WrittenAddresses] | None = None
) -> Comparison:
    """All differences of two runs. steps: the `written_addresses` of both."""
    before, after = ({str(row.get("id")): row for row in run.rows} for run in (first, second))
    both = [id for id in before if id in after]
    keys = differing_keys([first, second])
    return Comparison(
        first.name, second.name,
        {axis.key: (axis.values[0], axis.values[1]) for axis in keys if not _is_text(axis)},
        {axis.key: _diff(*axis.values) for axis in [*filter(_is_text, keys), *_prompts(first, second, keys)]},
        tuple(_changes(before, after, both, "answer")), tuple(_changes(before, after, both, "error")),
        tuple(id for id in before if id not in after), tuple(id for id in after if id not in before),
        _changed_metrics(ScoreTable([first, second])),
        _changed_metrics(ScoreTable([first, second], answer_figures), FIGURES),
        _divergences(*steps, both) if steps is not None else None, len(both),
    )  # fmt: skip


def written_addresses(traces: Iterable[Trace]) -> dict[str, dict[str, str]]:
    """For each row of a run, the address of the output of each stage."""
    return {trace.record: {step.stage: step.address for step in trace.steps} for trace in traces}


def as_data(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain data, for JSON."""
    absent = {key: [None if value is ABSENT else value for value in pair] for key, pair in comparison.config.items()}
    return {**asdict(comparison), "config": absent, "stages": comparison.stages, "identical": comparison.identical}


# -- config and texts ------------------------------------------------------------------------------------------------


def _is_text(axis: DifferingKey) -> bool:
    return any(isinstance(value, str) and ("\n" in value or len(value) > _LONG_TEXT) for value in axis.values)


def _prompts(first: SavedRun, second: SavedRun, shown: Sequence[DifferingKey]) -> list[DifferingKey]:
    """The prompt texts of options that differ: `prompt: v1, v2` alone does not show them."""
    known = {axis.key for axis in shown}
    configs = [{key: value for key, value in v.config.items() if key != "stages"} for v in (first, second)]
    return [axis for axis in differing_leaves(configs) if axis.key not in known and _is_prompt_text(axis)]


def _is_prompt_text(axis: DifferingKey) -> bool:
    """Whether a key holds a text for the model, not a path."""
    return axis.key.startswith("prompt.") and any(isinstance(value, str) and " " in value for value in axis.values)


def _diff(before: Any, after: Any) -> tuple[str, ...]:
    first, second = ([] if value is ABSENT else _text(value).splitlines() for value in (before, after))
    return tuple(list(difflib.unified_diff(first, second, lineterm="", n=2))[2:])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


# -- answers and scores ----------------------------------------------------------------------------------------------


def _changes(
    before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]], ids: Sequence[str], field: str
) -> list[RowChange]:
    changes = []
    for id in ids:
        values = before[id].get(field), after[id].get(field)
        failed = before[id].get("error") or after[id].get("error")
        if values[0] != values[1] and (field == "error" or not failed):
            texts = ("" if value is None else _text(value) for value in values)
            changes.append(RowChange(id, _text(after[id].get("question") or ""), *texts))
    return changes


def _changed_metrics(table: ScoreTable, metrics: Iterable[str] | None = None) -> dict[str, MetricChange]:
    """The metrics that differ on any question, or that one of the runs does not have."""
    changes: dict[str, MetricChange] = {}
    compared = table.against(0)[1]
    for metric in table.metrics if metrics is None else [name for name in metrics if name in table.metrics]:
        differences = table.differences(metric, 1, 0)
        gain = -1 if lower_is_better(metric) else 1
        changed = sorted((id for id, step in differences.items() if step), key=lambda id: -abs(differences[id]))
        first, second = table.scored(metric)
        if changed or first != second:
            improved = tuple(id for id in changed if differences[id] * gain > 0)
            regressed = tuple(id for id in changed if differences[id] * gain < 0)
            changes[metric] = MetricChange(compared[metric], improved, regressed)
    return changes


# -- the first stage that differs ------------------------------------------------------------------------------------


def _divergences(before: WrittenAddresses, after: WrittenAddresses, ids: Sequence[str]) -> dict[str, str]:
    stages = {}
    for id in ids:
        if id in before and id in after:
            stage = first_divergence(before[id], after[id])
            if stage is not None:
                stages[id] = stage
    return stages


def first_divergence(before: Mapping[str, str], after: Mapping[str, str]) -> str | None:
    """The first stage with another output, or that one of the runs does not have; None if the runs are equal.

    Stages that run in parallel may end in any order: those of both runs count in the order of the first run.
    """
    first = list(before)
    shared = iter([stage for stage in first if stage in after])
    second = [next(shared) if stage in before else stage for stage in after]
    for kind, i, end, j, _ in difflib.SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        if kind != "equal":
            return second[j] if kind in ("insert", "replace") else first[i]
        for stage in first[i:end]:
            if before[stage] != after[stage]:
                return stage
    return None
