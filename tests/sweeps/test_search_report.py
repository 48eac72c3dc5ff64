"""A search reports errors before anything runs, or as soon as they can be known."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmops_flows.cli.main import main
from tests.support.hill import HEIGHT, PLACES, calls

TOKENS = "sweep.minimize=[tokens]"


@pytest.mark.parametrize(
    ("overrides", "messages"),
    [
        (["model.north=1,2"], ["where NAME is one of: scores.height, cost_usd"]),
        (
            ["sweep.maximize=[scores.hieght]", "sweep.minimize=[cost,errors,errors]", "model.north=1,2"],
            ["did you mean 'scores.height'?", "did you mean 'cost_usd'?", "'errors' occurs 2 times"],
        ),
        ([TOKENS], ["a search needs a key with several values"]),
        ([TOKENS, "model.nroth=1,2", "model=hil,echo"], ["did you mean 'north'?", "did you mean 'hill'?"]),
        (
            [TOKENS, "model.north=shuffle(1,2)", "a=tag(log,interval(0,1))", "b=tag(lgo,interval(0,1))"],
            ["cannot shuffle values", "must be greater than 0", "did you mean 'log'?"],
        ),
        ([TOKENS, "model.east=interval(0,1)", "hydra.sweeper.sampler=grid"], ["a finite number of values"]),
        ([TOKENS, "model.north=1,2", "hydra.sweeper.sampler=tpee"], ["did you mean 'tpe'?"]),
        ([TOKENS, "model.north=1,2", "+hydra.sweeper.sampler_options.gama=1"], ["'gamma'"]),
        ([TOKENS, "model.north=1,2", "hydra.sweeper.n_trials=0"], ["greater than or equal to 1"]),
        (
            ["sweep.minimize=[tokens,errors]", "model.north=1,2", "hydra.sweeper.sampler=cmaes"],
            ["one objective only"],
        ),
        ([TOKENS, "model.north=1,2", "sweep.where=model.north > 9"], ["no point fulfills the constraint"]),
        ([TOKENS, "model.north=x,y"], ["must be a valid integer"]),
    ],
)
def test_an_error_is_reported_before_anything_runs(
    overrides: list[str], messages: list[str], search: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert search("-m", "flow=hill", "hydra/sweeper=optuna", *overrides) == 2
    output = capsys.readouterr().err
    assert [message for message in messages if message not in output] == [] and "Traceback" not in output
    assert calls() == []


def test_a_search_has_no_plan(search: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *HEIGHT, "model.north=1,2"]) == 2
    assert "it cannot be planned" in capsys.readouterr().err


def test_an_undeclared_score_is_reported_after_the_first_points(
    search: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["-m", "flow=hill", "hydra/sweeper=optuna", "evaluator=secret", "model.north=range(0,11)"]
    assert search(*words, "sweep.minimize=[scores.deppth]") == 2
    assert "did you mean 'scores.depth'?" in capsys.readouterr().err
    assert len(calls()) <= 4


def test_without_optuna_the_error_names_the_install_command(
    search: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "optuna"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if not path.endswith("site-packages")])
    assert search(*HEIGHT, *PLACES) == 2
    assert "pip install 'llmops-flows[optuna]'" in capsys.readouterr().err


def test_an_unusable_storage_is_an_error(search: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.db").write_bytes(b"no database" * 100)
    assert search(*HEIGHT, *PLACES, "hydra.sweeper.storage=broken.db") == 1
    output = capsys.readouterr().err
    assert "the study cannot be stored in 'broken.db'" in output and "Traceback" not in output
