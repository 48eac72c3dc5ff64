"""With every launcher and sweeper of Hydra, a failed point does not stop the others and sets the exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmops_flows.sweeps.grid.points import expand_points
from llmops_flows.sweeps.launchers.jobs import JobBatch, collect_outcomes, pack_tasks

KEY = "sk-proj-0123456789abcdefghijklmnop"
ODD = f"""
import os
import signal
from typing import Any

from llmops_flows import Model


class Odd(Model):
    name: str = "odd"
    mode: str = "good"
    mark: str = "!"

    def run(self, messages: list[Any]) -> str:
        print("the key is {KEY}", flush=True)
        if self.mode == "bad":
            raise ValueError("it went wrong")
        if self.mode == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        return messages[-1]["content"] + self.mark
"""
FILES = {
    "my_parts/__init__.py": "",
    "my_parts/odd.py": ODD,
    "conf/model/odd.yaml": '_target_: my_parts.odd.Odd\nmode: good\nmark: "!"\n',
    "conf/flow/odd.yaml": """# @package _global_
defaults:
  - override /prompt: chat/v1
  - override /model: odd
  - override /evaluator: none
  - override /guardrail: none
name: odd
trust: [my_parts]
questions: {path: questions.jsonl}
stages:
  prompt: ${prompt}
  model: ${model}
""",
    "questions.jsonl": '{"question": "one"}\n{"question": "two"}\n',
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def sweep(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llmops_flows", "-m", "flow=odd", "hydra.sweep.dir=out", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=110, env=dict(os.environ),
    )  # fmt: skip


def answered(folder: Path) -> list[str]:
    """The points that have an answer to each question."""
    paths = (folder / "out").glob("*/results.jsonl")
    return sorted(path.parent.name for path in paths if path.read_text().count('"error": null') == 2)


@pytest.mark.parametrize(
    "mode",
    [
        ["hydra/launcher=joblib"],
        ["hydra/sweeper=basic"],
        pytest.param(["hydra/sweeper=basic", "hydra/launcher=joblib"], marks=pytest.mark.slow),
    ],
)
def test_a_failed_point_does_not_stop_the_others_and_no_key_is_shown_or_saved(
    mode: list[str], project: Path, home: Path
) -> None:
    process = sweep(project, "model.mode=bad,good", "model.mark=a,b", *mode)
    assert process.returncode == 3, process.stderr
    assert answered(project) == ["2", "3"]
    assert "2 of 2: model: ValueError: it went wrong" in process.stdout
    assert process.stdout.count(" failed:") == 2 and "2 of 4 points finished" in process.stdout
    assert "odd: 4 points" in process.stdout
    assert "the key is [REDACTED]" in process.stdout
    written = [path for folder in (project / "out", home) for path in folder.rglob("*") if path.is_file()]
    shown = [(process.stdout + process.stderr).encode(), *(path.read_bytes() for path in written)]
    assert written and not any(KEY.encode() in data for data in shown)


@pytest.mark.parametrize(
    "mode",
    [
        ["hydra/launcher=joblib"],
        pytest.param(["hydra/sweeper=basic", "hydra/launcher=joblib"], marks=pytest.mark.slow),
    ],
)
def test_a_point_that_kills_its_process_does_not_fail_the_others(mode: list[str], project: Path) -> None:
    process = sweep(project, "model.mode=killed,good", *mode)
    assert process.returncode == 3, process.stderr
    assert answered(project) == ["1"]
    assert "its process died of SIGKILL(-9): out of memory?" in process.stdout
    assert "its process died" in (project / "out/0/failure.txt").read_text()


def test_exit_codes_if_all_points_fail_or_are_invalid(project: Path) -> None:
    assert sweep(project, "model.mode=bad", "hydra/sweeper=basic").returncode == 1
    invalid = sweep(project, "samples=0", "hydra/sweeper=basic", "hydra/launcher=joblib")
    assert invalid.returncode == 2 and "samples" in invalid.stdout + invalid.stderr


def test_a_launcher_that_cannot_start_prints_one_line(project: Path) -> None:
    process = sweep(project, "model.mark=a,b", "hydra/launcher=joblib", "hydra.launcher.n_jobs=0")
    assert process.returncode == 1
    assert process.stderr.startswith("FlowError: the launcher failed: ") and "Traceback" not in process.stderr


def test_results_are_copied_from_another_disk(tmp_path: Path) -> None:
    """Without the marker of the sender's disk, the job writes elsewhere and returns the files."""
    points = expand_points(["flow=chat", "model=echo", "question='hi there'", "samples=2", "evaluator=none"])
    away, here = tmp_path / "away", tmp_path / "here"
    results = JobBatch([pack_tasks(points, away)], 7, str(away), ".sender", {}).run(7)
    assert not away.exists()
    assert [outcome.number for outcome in collect_outcomes(results, here)] == [0]
    assert sorted(path.name for path in (here / "0").iterdir()) == ["config.json", "results.jsonl", "summary.json"]
    assert (here / "0/results.jsonl").read_text().count("hi there") >= 2
