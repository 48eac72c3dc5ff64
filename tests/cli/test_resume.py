"""The same command again: what changed since is named, and only what it touches runs again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .jobs import FLOW, JOB, OPTION, PROMPT, begun, project, sweep, write

AXIS = "model.number=range(4)"


def again(folder: Path, *overrides: str, code: int = 0) -> str:
    done = sweep(folder, AXIS, *overrides)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """A sweep of four points that was left with one of them undone."""
    folder = project(tmp_path, n3="raise")
    again(folder, code=3)
    write(folder / "conf" / "model" / "job.yaml", OPTION + "{}")
    (folder / "begun.txt").unlink()
    return folder


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
    lines = [line.partition("ran last: ")[2] for line in told.splitlines() if line.startswith("changed since")]
    assert lines[:1] == ([words] if words else []), told
    assert "resumed: 3 of 4 points known" in told if not words else "3 points that were finished run again" in told
    assert sum(begun(left).values()) == calls
    assert len(results_of_all(left)) == 4


def results_of_all(folder: Path) -> list[dict[str, Any]]:
    [only] = (folder / "multirun").glob("*/*")
    return [json.loads((only / str(n) / "summary.json").read_text()) for n in range(4)]
