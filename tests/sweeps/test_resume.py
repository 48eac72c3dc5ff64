"""The same command again: what changed since is named, and only what it touches runs again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.jobs import FLOW, JOB, OPTION, PROMPT, begun, project, started, sweep, write

AXIS = "model.number=range(4)"


def again(folder: Path, *overrides: str, code: int = 0) -> str:
    done = sweep(folder, AXIS, *overrides)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def undone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A sweep of four points that was left with one of them undone, and what it keeps."""
    folder = project(tmp_path_factory.mktemp("undone"), n3="raise")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMOPS_FLOWS_HOME", str(folder.with_name("home")))
        again(folder, code=3)
    shutil.copytree(folder.with_name("home"), folder / "home")
    write(folder / "conf" / "model" / "job.yaml", OPTION + "{}")
    (folder / "begun.txt").unlink()
    yield folder


@pytest.fixture
def left(undone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, for one test; what it keeps lies where it lay."""
    shutil.copytree(undone, tmp_path, dirs_exist_ok=True)
    home = undone.with_name("home")
    shutil.rmtree(home)
    (tmp_path / "home").rename(home)
    monkeypatch.setenv("LLMOPS_FLOWS_HOME", str(home))
    return tmp_path


def edited(folder: Path, what: str) -> None:
    """Change a file of the project, as a user would between two runs."""
    file, text = {
        "nothing": ("conf/prompt/jobs/v1.yaml", PROMPT),
        "prompt": ("conf/prompt/jobs/v1.yaml", PROMPT.replace("say", "shout")),
        "model": ("conf/model/job.yaml", OPTION + "{}\nname: other\n"),
        "timeout": ("conf/model/job.yaml", OPTION.replace("pause: 0.0", "pause: 0.001") + "{}"),
        "code": ("my_package/job.py", JOB.replace('return f"', 'return f"now ')),
        "question": ("flows/jobs/questions.jsonl", '{"id": "a", "question": "hello again"}\n'),
        "more": ("flows/jobs/questions.jsonl", '{"id": "a", "question": "hello"}\n{"id": "b", "question": "hi"}\n'),
        "metric": ("conf/flow/jobs.yaml", FLOW.replace("evaluator: none", "evaluator: basic")),
        "samples": ("conf/flow/jobs.yaml", FLOW + "samples: 2\n"),
    }[what]
    write(folder / file, text)


@pytest.mark.parametrize(
    ("what", "words", "calls"),
    [
        ("nothing", "", 1),
        ("prompt", "prompt: messages.0.content changed", 4),
        ("model", "model: name changed", 4),
        ("timeout", "", 1),
        ("code", "model: code changed", 4),
        ("question", "questions: 1 changed (a)", 4),
        ("more", "questions: 1 added (b)", 5),
        ("metric", "relevance: new", 1),
        ("samples", "samples: '1' became '2'", 1),
    ],
)
def test_whatever_changed_is_named_and_only_what_it_touches_runs_again(
    what: str, words: str, calls: int, left: Path
) -> None:
    edited(left, what)
    told = again(left)
    lines = [line.partition("of this sweep: ")[2] for line in told.splitlines() if line.startswith("changed since")]
    assert lines[:1] == ([words] if words else []), told
    assert "resumed: 3 of 4 points finished" in told if not words else "3 finished points run again" in told
    assert sum(begun(left).values()) == calls
    assert len(results_of_all(left)) == 4


def results_of_all(folder: Path) -> list[dict[str, Any]]:
    [only] = (folder / "multirun").glob("*/*")
    return [json.loads((only / str(n) / "summary.json").read_text()) for n in range(4)]


def test_points_that_do_the_same_are_taken_up_with_the_one_that_they_are_like(tmp_path: Path) -> None:
    folder = project(tmp_path, n1="raise")
    axes = ("model.number=0,1", "model.pause=0.0,0.001")
    done = sweep(folder, *axes, "sweep.workers=2")
    assert done.returncode == 3, done.stdout
    assert (
        "2 of 4 points finished" in done.stdout and "point 3 (model.number=1 model.pause=0.001) failed" in done.stdout
    )
    (folder / "mended").touch()
    done = sweep(folder, *axes, "sweep.workers=2")
    assert "resumed: 2 of 4 points finished" in done.stdout and "4 of 4 points finished" in done.stdout
    assert begun(folder) == {0: 1, 1: 2}
    assert [one["overrides"][1] for one in results_of_all(folder)] == ["model.pause=0.0", "model.pause=0.001"] * 2


def test_a_finished_sweep_is_left_as_it_was_and_costs_nothing_again(tmp_path: Path) -> None:
    folder = project(tmp_path)
    again(folder)
    edited(folder, "question")
    told = again(folder)
    assert "changed since the last run of this sweep: questions: 1 changed (a)" in told
    first, second = sorted((folder / "multirun").glob("*/*"))
    assert [json.loads((place / "0" / "results.jsonl").read_text())["question"] for place in (first, second)] == [
        "hello", "hello again",
    ]  # fmt: skip
    assert "changed since" not in again(folder)
    assert sum(begun(folder).values()) == 8


def test_a_value_that_is_added_runs_alone(tmp_path: Path) -> None:
    folder = project(tmp_path)
    again(folder, "sweep.workers=2")
    assert sweep(folder, "model.number=range(6)", "sweep.workers=2").returncode == 0
    assert begun(folder) == dict.fromkeys(range(6), 1)


def test_all_of_it_runs_anew_when_that_is_asked_for(left: Path) -> None:
    told = again(left, "sweep.resume=false", "cache.refresh=true")
    assert "resumed" not in told and sum(begun(left).values()) == 4
    assert len(list((left / "multirun").glob("*/*"))) == 2


def test_a_folder_of_ones_own_is_gone_on_with_and_never_shared_with_another_sweep(tmp_path: Path) -> None:
    folder = project(tmp_path, n3="raise")
    assert "mine   python -m llmops_flows board mine --report" in again(folder, "hydra.sweep.dir=mine", code=3)
    (folder / "mended").touch()
    assert "resumed: 3 of 4 points finished, in mine" in again(folder, "hydra.sweep.dir=mine")
    done = sweep(folder, "model.number=range(5)", "hydra.sweep.dir=mine")
    assert done.returncode == 2 and "'mine' holds another sweep" in done.stderr
    assert sorted(path.name for path in (folder / "mine").iterdir() if path.is_dir()) == ["0", "1", "2", "3"]


def test_two_of_the_same_at_once_share_the_work_and_not_the_folder(tmp_path: Path) -> None:
    folder = project(tmp_path)
    running = [started(folder, AXIS, "model.pause=0.3", "sweep.workers=2") for _ in range(2)]
    assert [one.wait(60) for one in running] == [0, 0]
    assert begun(folder) == dict.fromkeys(range(4), 1)
    assert len(list((folder / "multirun").glob("*/*/0/summary.json"))) == 2


def test_what_a_sweep_remembers_holds_no_secret(tmp_path: Path) -> None:
    folder = project(tmp_path)
    key = "sk-proj-" + "a1B2" * 10
    write(folder / "conf" / "prompt" / "jobs" / "v1.yaml", PROMPT.replace("say", f"use {key} to say"))
    again(folder, "sweep.workers=2")
    assert not [path for path in (folder / "multirun").rglob("*") if path.is_file() and key in path.read_text()]
