"""A study of Optuna alone: who tells of a trial, and what a value becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmops_flows.integrations.optuna import DONE, FAILED, LEFT_OUT, Parameter, Plan, Study


def test_a_trial_that_was_cut_off_waits_and_is_told_by_whoever_goes_on(tmp_path: Path) -> None:
    plan = Plan([Parameter("k", numbers=(1, 9))], [True])
    first = Study("s", str(tmp_path / "a.db"), plan, {"what": "x"})
    number = first.ask().number
    first.close()
    second = Study("s", str(tmp_path / "a.db"), plan, {"what": "x"})
    second.done(number, [3.0])
    second.failed(number)  # another process was slower: the first word counts
    assert [(trial.state, trial.figures) for trial in second.trials] == [(DONE, (3.0,))]
    second.failed(second.ask().number)
    second.left_out(second.ask().number)
    assert [trial.state for trial in second.trials] == [DONE, FAILED, LEFT_OUT] and second.best == [0]
    second.close()


@pytest.mark.parametrize(
    ("parameter", "value", "override"),
    [
        (Parameter("k", numbers=(1, 9)), 3, "k=3"),
        (Parameter("t", numbers=(0.0, 1.0)), 1e-7, "t=1e-07"),
        (Parameter("t", {"0.1": ("t=0.1",), "0.3": ("t=0.3",)}, (0.1, 0.3), 0.2), 0.30000000000000004, "t=0.3"),
        (Parameter("a,b", {"a=1 b=2": ("a=1", "b=2")}), "a=1 b=2", "a=1 b=2"),
    ],
)
def test_a_value_becomes_the_override_that_was_typed(parameter: Parameter, value: Any, override: str) -> None:
    assert " ".join(parameter.overrides(value)) == override
