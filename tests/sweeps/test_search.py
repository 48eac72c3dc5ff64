"""A search with Optuna finds the top of a known hill, and continues where it was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmops_flows.cli.main import main
from tests.support.hill import HEIGHT, PLACES, calls, results, tried


def test_a_search_finds_the_top_of_the_hill(search: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["hydra.sweeper.n_trials=30", "+hydra.sweeper.sampler_options={multivariate: true}"]
    assert search(*HEIGHT, *PLACES, "model.side=north,south", *settings) == 0
    [best] = [trial for trial in results()["trials"] if trial["number"] in results()["best"]]
    assert best["figures"]["scores.height"] > 0.97 and "model.side=south" in best["overrides"]
    out = capsys.readouterr().out
    assert f"best of 30 points by scores.height: {best['number']} " in out
    assert f"promote results/{best['number']} NAME" in out
    summary = json.loads(Path(f"results/{best['number']}/summary.json").read_text())
    assert summary["scores"]["height"]["mean"] == best["figures"]["scores.height"]


def test_the_same_command_computes_nothing_and_a_larger_number_adds_the_rest(
    search: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(*HEIGHT, *PLACES, "hydra.sweeper.n_trials=5") == 0
    first, count = tried(), len(calls())
    assert search(*HEIGHT, *PLACES, "hydra.sweeper.n_trials=5") == 0
    assert tried() == first and len(calls()) == count == 5
    assert "5 points from earlier runs" in capsys.readouterr().out
    assert search(*HEIGHT, *PLACES, "hydra.sweeper.n_trials=7") == 0
    assert tried()[:5] == first and len(calls()) == 7


def test_a_continued_search_copies_earlier_results_to_its_folder(hill: Path, search: Callable[..., int]) -> None:
    assert search(*HEIGHT, *PLACES, "hydra.sweeper.n_trials=3") == 0
    assert search(*HEIGHT, *PLACES, "hydra.sweeper.n_trials=5", folder="again") == 0
    assert sorted(path.parent.name for path in (hill / "again").glob("*/summary.json")) == ["0", "1", "2", "3", "4"]


def test_the_seed_decides_the_proposals_however_often_the_search_is_interrupted(
    search: Callable[..., int], home: Path
) -> None:
    words = [*HEIGHT, *PLACES, "hydra.sweeper.n_jobs=2", "+hydra.sweeper.sampler_options={n_startup_trials: 3}"]
    assert search(*words, "hydra.sweeper.n_trials=8") == 0
    (home / "optuna.db").unlink()
    for stop in (4, 6, 8):
        assert search(*words, f"hydra.sweeper.n_trials={stop}", folder="again") == 0
    assert tried("again") == tried()
    assert search(*words, "hydra.sweeper.n_trials=2", "hydra.sweeper.seed=1", folder="other") == 0
    assert tried("other") != tried()[:2]


def test_a_killed_search_continues_and_repeats_no_finished_point(search: Callable[..., int]) -> None:
    words = [*HEIGHT, *PLACES, "hydra.sweeper.n_trials=10", "hydra.sweeper.n_jobs=2", "hydra.sweep.dir=results"]
    process = subprocess.run(
        [sys.executable, "-m", "llmops_flows", *words],
        env={**os.environ, "KILLED_AT": "7"}, capture_output=True, timeout=110,
    )  # fmt: skip
    assert process.returncode == -signal.SIGKILL and len(calls()) == 7
    killed = calls()
    assert search(*words) == 0
    assert len(results()["trials"]) == 10
    assert calls()[:7] == killed and len(calls()) <= 12
    assert len(set(calls())) == 10


def test_two_objectives_have_a_pareto_front_that_board_marks(
    search: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("conf/evaluator/both.yaml").write_text("defaults: [height, secret]\n")
    words = ["-m", "flow=hill", "hydra/sweeper=optuna", "evaluator=both", "hydra.sweeper.sampler=grid"]
    words += ["model.north=3,7", "model.side=north,south"]
    assert search(*words, "sweep.maximize=[scores.height,scores.depth]") == 0
    figures = {trial["number"]: trial["figures"] for trial in results()["trials"]}
    assert results()["best"] == list(figures)  # a gain in one objective is a loss in the other
    out = capsys.readouterr().out
    assert "Pareto front: 4 of 4 points" in out and "scores.height (more)" in out
    assert search(*words, "sweep.maximize=[scores.height]", "sweep.minimize=[scores.depth]", folder="other") == 0
    [best] = results("other")["best"]
    assert figures[best]["scores.height"] == 1 - 0.09
    capsys.readouterr()
    assert main(["board", "other"]) == 0
    board = capsys.readouterr().out
    assert f"*{best} " in board and "* best of the search" in board


def test_duplicate_points_are_computed_once(search: Callable[..., int]) -> None:
    assert search(*HEIGHT, "model.north=1,2", "tags=[one],[two]") == 0
    assert len(results()["trials"]) == 4 and len(calls()) == 2


def test_points_that_a_constraint_excludes_are_not_run(search: Callable[..., int], home: Path) -> None:
    assert search(*HEIGHT, "model.north=range(0,6)", "model.side=north,south", "sweep.where=model.north > 2") == 0
    assert len(results()["trials"]) == results()["left_out"] == 6
    assert all(int(line.split()[1]) > 2 for line in calls())


def test_failed_points_are_listed_with_their_cause_and_retried_next_time(
    search: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*HEIGHT, "model.side=cliff,fog,south", "model.north=0,-1,x"]
    assert search(*words) == 3
    out = capsys.readouterr().out
    assert "fell off" in out and "no answer has a value of scores.height" in out
    assert "model.north (override model.north=x)" in out
    fine = {" ".join(trial["overrides"]) for trial in results()["trials"] if trial["figures"]}
    assert fine == {"model.side=south model.north=0", "model.side=south model.north=-1"}
    assert len(results()["trials"]) == 9
    assert search(*words) == 3
    assert len(results()["trials"]) == 9 and calls()[2:] != calls()[:2]


def test_a_changed_pipeline_starts_a_new_study(
    search: Callable[..., int], hill: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(*HEIGHT, "model.north=6,7") == 0
    name = results()["study"]
    prompt = hill / "conf/prompt/chat/v1.yaml"
    prompt.parent.mkdir(parents=True)
    prompt.write_text(
        "_target_: llmops_flows.components.prompt.chat.ChatPrompt\n"
        "messages:\n  - {role: user, content: 'say {question}'}\n"
    )
    assert search(*HEIGHT, "model.north=6,7", folder="other") == 0
    assert results("other")["study"] != name and len(calls()) == 4
    named = [*HEIGHT, "model.north=6,7", "hydra.sweeper.study_name=mine"]
    assert search(*named, folder="again") == 0
    prompt.write_text(prompt.read_text().replace("say", "tell"))
    assert search(*named, folder="again") == 2
    assert "'mine' belongs to another search: different pipeline" in capsys.readouterr().err
    prompt.unlink()


def test_a_space_and_objectives_can_stand_in_a_file(search: Callable[..., int], hill: Path) -> None:
    preset = hill / "conf/hydra/sweeper/mine.yaml"
    preset.parent.mkdir(parents=True, exist_ok=True)
    preset.write_text(
        "defaults: [optuna, _self_]\nmaximize: [scores.height]\nn_trials: 3\nsampler: random\n"
        "params: {model.north: 'range(0,11)', model.side: [north, south]}\n"
    )
    assert search("-m", "flow=hill", "hydra/sweeper=mine") == 0
    assert len(results()["trials"]) == 3
    assert search("-m", "flow=hill", "hydra/sweeper=mine", "model.side=south", "model.north=6") == 2
    assert search("-m", "flow=hill", "hydra/sweeper=mine", "model.side=south", folder="other") == 0
    assert {line.split()[2] for line in calls()[3:]} == {"south"}


@pytest.mark.parametrize("sampler", ["random", "nsga2", "cmaes"])
def test_every_sampler_searches(sampler: str, search: Callable[..., int]) -> None:
    settings = ["hydra.sweeper.n_trials=4", f"hydra.sweeper.sampler={sampler}"]
    assert search(*HEIGHT, *PLACES, "model.side=north,south", *settings) == 0
    assert len(results()["trials"]) == 4


@pytest.mark.slow
def test_a_launcher_runs_the_batches(search: Callable[..., int]) -> None:
    assert search(*HEIGHT, "model.north=6,7", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2") == 0
    [best] = results()["best"]
    assert [t["overrides"] for t in results()["trials"] if t["number"] == best] == [["model.north=7"]]
    assert len(calls()) == 2


def test_a_point_that_the_budget_does_not_allow_is_not_failed(
    search: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*HEIGHT, "model.north=range(0,11)", "hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=2"]
    assert search(*words, "budget.minutes=0.0000001") in (1, 3)
    out = capsys.readouterr().out
    assert "the budget is spent" in out and "0 of 6 points tried" in out
    assert search(*words) == 0
    assert len(results()["trials"]) == 6 and not any(trial["cause"] for trial in results()["trials"])
    assert {trial["number"] for trial in results()["trials"]} >= {0, 1}  # the first two are retried


def test_a_clearly_worse_point_is_stopped(
    search: Callable[..., int], hill: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f'{{"question": "{n}?"}}\n' for n in range(24))
    (hill / "many.jsonl").write_text(rows)
    words = [*HEIGHT, "question=null", "questions.path=many.jsonl", "questions.limit=24", "model.north=7,-90,9"]
    stop = ["sweep.stop=height", "sweep.block=6", "hydra.sweeper.sampler=grid"]
    assert search(*words, *stop) == 0
    assert [bool(trial["stopped"]) for trial in results()["trials"]] == [False, True, True]
    before = len(calls())
    assert search(*words, *stop) == 0
    assert len(calls()) == before and "stopped after 12 of 24 answers" in capsys.readouterr().out
    assert search(*words, *stop, "sweep.minimize=[tokens]") == 2
    assert "only by its single objective" in capsys.readouterr().err


def test_without_resume_a_search_starts_a_new_study(search: Callable[..., int]) -> None:
    assert search(*HEIGHT, "model.north=1,2") == 0
    assert search(*HEIGHT, "model.north=1,2", "sweep.resume=false", folder="other") == 0
    assert results()["study"] != results("other")["study"] and tried() == tried("other")


def test_fail_fast_ends_a_search(search: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert search(*HEIGHT, "model.side=cliff,south", "model.north=range(0,9)", "sweep.fail_fast=true") in (1, 3)
    assert "stopped at the first point that failed" in capsys.readouterr().out
    assert sum(1 for trial in results()["trials"] if trial["cause"]) == 1


def test_a_folder_with_other_points_is_not_overwritten(
    search: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(*HEIGHT, "model.north=1,2") == 0
    before = Path("results/optimization_results.json").read_text(), Path("results/multirun.yaml").read_text()
    assert search(*HEIGHT, "model.north=3,4") == 2
    assert "'results' holds the points of hill-" in capsys.readouterr().err
    assert before == (Path("results/optimization_results.json").read_text(), Path("results/multirun.yaml").read_text())
