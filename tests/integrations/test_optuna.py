"""A study of Optuna alone: who tells of a trial, and what a value becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmops_flows.integrations.optuna import DONE, FAILED, PRUNED, OptunaStudy, SearchParameter, StudyPlan


def test_a_trial_that_was_cut_off_waits_and_is_told_by_whoever_goes_on(tmp_path: Path) -> None:
    plan = StudyPlan([SearchParameter("k", numbers=(1, 9))], [True])
    first = OptunaStudy("s", str(tmp_path / "a.db"), plan, {"what": "x"})
    number = first.ask().number
    first.close()
    second = OptunaStudy("s", str(tmp_path / "a.db"), plan, {"what": "x"})
    second.complete(number, [3.0])
    second.fail(number)  # another process was slower: the first word counts
    assert [(trial.state, trial.figures) for trial in second.trials] == [(DONE, (3.0,))]
    second.fail(second.ask().number)
    second.prune(second.ask().number)
    assert [trial.state for trial in second.trials] == [DONE, FAILED, PRUNED] and second.best_numbers == [0]
    second.close()


@pytest.mark.parametrize(
    ("parameter", "value", "override"),
    [
        (SearchParameter("k", numbers=(1, 9)), 3, "k=3"),
        (SearchParameter("t", numbers=(0.0, 1.0)), 1e-7, "t=1e-07"),
        (SearchParameter("t", {"0.1": ("t=0.1",), "0.3": ("t=0.3",)}, (0.1, 0.3), 0.2), 0.30000000000000004, "t=0.3"),
        (SearchParameter("a,b", {"a=1 b=2": ("a=1", "b=2")}), "a=1 b=2", "a=1 b=2"),
    ],
)
def test_a_value_becomes_the_override_that_was_typed(parameter: SearchParameter, value: Any, override: str) -> None:
    assert " ".join(parameter.overrides(value)) == override
