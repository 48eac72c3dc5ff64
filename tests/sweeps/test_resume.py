"""The same command continues a sweep, names what changed, and runs only the points that the change affects."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.jobs import FLOW, JOB, OPTION, PROMPT, project, start_counts, start_sweep, sweep, write

AXIS = "model.number=range(4)"


def again(folder: Path, *overrides: str, code: int = 0) -> str:
    process = sweep(folder, AXIS, *overrides)
    assert process.returncode == code, process.stdout + process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A sweep of four points, one of them unfinished, and its home."""
    folder = project(tmp_path_factory.mktemp("unfinished"), n3="raise")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMOPS_FLOWS_HOME", str(folder.with_name("home")))
        again(folder, code=3)
    shutil.copytree(folder.with_name("home"), folder / "home")
    write(folder / "conf" / "model" / "job.yaml", OPTION + "{}")
    (folder / "started.txt").unlink()
    yield folder


@pytest.fixture
def project_copy(unfinished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the unfinished sweep for one test. The home must be at its original path."""
    shutil.copytree(unfinished, tmp_path, dirs_exist_ok=True)
    home = unfinished.with_name("home")
    shutil.rmtree(home)
    (tmp_path / "home").rename(home)
    monkeypatch.setenv("LLMOPS_FLOWS_HOME", str(home))
    return tmp_path


def edit(folder: Path, what: str) -> None:
    """Changes a file of the project, as a user would between two runs."""
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
    ("what", "change", "calls"),
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
def test_each_change_is_named_and_only_affected_points_run_again(
    what: str, change: str, calls: int, project_copy: Path
) -> None:
    edit(project_copy, what)
    output = again(project_copy)
    lines = [line.partition("of this sweep: ")[2] for line in output.splitlines() if line.startswith("changed since")]
    assert lines[:1] == ([change] if change else []), output
    assert "resumed: 3 of 4 points finished" in output if not change else "3 finished points run again" in output
    assert sum(start_counts(project_copy).values()) == calls
    assert len(results_of_all(project_copy)) == 4


def results_of_all(folder: Path) -> list[dict[str, Any]]:
    [only] = (folder / "multirun").glob("*/*")
    return [json.loads((only / str(n) / "summary.json").read_text()) for n in range(4)]


def test_duplicate_points_resume_with_the_point_that_they_duplicate(tmp_path: Path) -> None:
    folder = project(tmp_path, n1="raise")
    axes = ("model.number=0,1", "model.pause=0.0,0.001")
    process = sweep(folder, *axes, "sweep.workers=2")
    assert process.returncode == 3, process.stdout
    assert (
        "2 of 4 points finished" in process.stdout
        and "point 3 (model.number=1 model.pause=0.001) failed" in process.stdout
    )
    (folder / "fixed").touch()
    process = sweep(folder, *axes, "sweep.workers=2")
    assert "resumed: 2 of 4 points finished" in process.stdout and "4 of 4 points finished" in process.stdout
    assert start_counts(folder) == {0: 1, 1: 2}
    assert [s["overrides"][1] for s in results_of_all(folder)] == [
        "model.pause=0.0",
        "model.pause=0.001",
    ] * 2


def test_a_finished_sweep_is_not_changed_and_costs_nothing_again(tmp_path: Path) -> None:
    folder = project(tmp_path)
    again(folder)
    edit(folder, "question")
    output = again(folder)
    assert "changed since the last run of this sweep: questions: 1 changed (a)" in output
    paths = sorted((folder / "multirun").glob("*/*/0/results.jsonl"))
    assert [json.loads(path.read_text())["question"] for path in paths] == ["hello", "hello again"]
    assert "changed since" not in again(folder)
    assert sum(start_counts(folder).values()) == 8


def test_an_added_value_runs_only_its_points(tmp_path: Path) -> None:
    folder = project(tmp_path)
    again(folder, "sweep.workers=2")
    assert sweep(folder, "model.number=range(6)", "sweep.workers=2").returncode == 0
    assert start_counts(folder) == dict.fromkeys(range(6), 1)


def test_without_resume_everything_runs_again(project_copy: Path) -> None:
    output = again(project_copy, "sweep.resume=false", "cache.refresh=true")
    assert "resumed" not in output and sum(start_counts(project_copy).values()) == 4
    assert len(list((project_copy / "multirun").glob("*/*"))) == 2


def test_a_given_folder_is_continued_and_never_shared_with_another_sweep(tmp_path: Path) -> None:
    folder = project(tmp_path, n3="raise")
    assert "mine   python -m llmops_flows board mine --report" in again(folder, "hydra.sweep.dir=mine", code=3)
    (folder / "fixed").touch()
    assert "resumed: 3 of 4 points finished, in mine" in again(folder, "hydra.sweep.dir=mine")
    process = sweep(folder, "model.number=range(5)", "hydra.sweep.dir=mine")
    assert process.returncode == 2 and "'mine' holds another sweep" in process.stderr
    assert sorted(path.name for path in (folder / "mine").iterdir() if path.is_dir()) == ["0", "1", "2", "3"]


def test_two_equal_sweeps_at_once_share_the_work_but_not_the_folder(tmp_path: Path) -> None:
    folder = project(tmp_path)
    running = [start_sweep(folder, AXIS, "model.pause=0.3", "sweep.workers=2") for _ in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]
    assert start_counts(folder) == dict.fromkeys(range(4), 1)
    assert len(list((folder / "multirun").glob("*/*/0/summary.json"))) == 2


def test_the_files_of_a_sweep_contain_no_secret(tmp_path: Path) -> None:
    folder = project(tmp_path)
    key = "sk-proj-" + "a1B2" * 10
    write(folder / "conf" / "prompt" / "jobs" / "v1.yaml", PROMPT.replace("say", f"use {key} to say"))
    again(folder, "sweep.workers=2")
    assert not [path for path in (folder / "multirun").rglob("*") if path.is_file() and key in path.read_text()]
