"""A sweep costs its distinct work: points side by side, what they share computed once, planned as it is executed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

QUICK = ("flow=rag_support", "model=extractive,echo", "retriever=bm25", "questions.limit=4")


def flows(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llmops_flows", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=110, env=dict(os.environ),
    )  # fmt: skip


def summaries(folder: Path) -> list[dict[str, Any]]:
    """What the points of the last sweep left, in their order."""
    last = max((folder / "multirun").glob("*/*"), key=lambda path: path.stat().st_mtime_ns)
    found = sorted(last.glob("*/summary.json"), key=lambda path: int(path.parent.name))
    return [json.loads(path.read_text()) for path in found]


def executed(folder: Path) -> dict[str, int]:
    total: dict[str, int] = {}
    for summary in summaries(folder):
        for name, counts in summary["stages"].items():
            total[name] = total.get(name, 0) + counts.get("computed", 0)
    return total


def planned(text: str) -> dict[str, int]:
    rows = re.findall(r"^(\w+) +\d+ +\d+ +(\d+) ", text, re.MULTILINE)
    return {name: int(count) for name, count in rows}


def test_what_points_share_is_computed_once_as_it_was_planned(tmp_path: Path) -> None:
    axes = ("prompt=glob(rag_support/*)", "reranker=none,sentences", "guardrail=none")
    plan = flows(tmp_path, "plan", "-m", *QUICK, *axes)
    assert plan.returncode == 0, plan.stderr
    assert plan.stdout.startswith("12 points")
    done = flows(tmp_path, "-m", *QUICK, *axes)
    assert done.returncode == 0, done.stderr
    assert len(summaries(tmp_path)) == 12
    foreseen, did = planned(plan.stdout), executed(tmp_path)
    assert foreseen["retrieve"] == did["retrieve"] == 4
    assert foreseen["rerank"] == did["rerank"] == 8
    assert foreseen["prompt"] == 24 >= did["prompt"] > 12  # fewer where equal sentences make equal prompts
    assert all(did[name] <= foreseen[name] for name in foreseen)

    again = flows(tmp_path, "-m", *QUICK, *axes)
    assert again.returncode == 0, again.stderr
    assert sum(executed(tmp_path).values()) == 0
    assert all(count == 0 for count in planned(flows(tmp_path, "plan", "-m", *QUICK, *axes).stdout).values())


def test_the_results_are_those_of_hydras_own_sweeper(tmp_path: Path) -> None:
    axes = ("reranker=none,sentences", "cache=none")
    assert flows(tmp_path, "-m", *QUICK, *axes).returncode == 0
    ours = summaries(tmp_path)
    assert flows(tmp_path, "-m", *QUICK, *axes, "hydra/sweeper=basic").returncode == 0
    theirs = summaries(tmp_path)
    assert [one["scores"] for one in ours] == [one["scores"] for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one["choices"].items() <= other["choices"].items()


def test_an_added_value_runs_only_the_new_cells(tmp_path: Path) -> None:
    flows(tmp_path, "-m", *QUICK, "retriever.k=2,3", "guardrail=none")
    done = flows(tmp_path, "-m", *QUICK, "retriever.k=2,3,4", "guardrail=none")
    assert done.returncode == 0, done.stderr
    assert executed(tmp_path)["retrieve"] == 4


def test_points_that_do_the_same_run_once(tmp_path: Path) -> None:
    done = flows(tmp_path, "-m", *QUICK, "model.limits.timeout=30,60")
    assert done.returncode == 2 or "2 duplicates of other points" in done.stdout


def test_zipped_axes_and_conditions(tmp_path: Path) -> None:
    axes = ("retriever.k=2,4,8", "reranker.count=1,2,3", "guardrail=none")
    done = flows(
        tmp_path, "-m", *QUICK, *axes,
        "sweep.zip=[[retriever.k,reranker.count]]", "sweep.where=retriever.k < 8 or model == echo",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(summaries(tmp_path)) == 5


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("sweep.where=retriver == bm25", "names no key"),
        ("sweep.where=retriever.k > 99", "no point fulfills the constraint"),
        ("sweep.zip=[[retriever.k,narrw]]", "has only one value"),
        ("sweep.zap=1", "unknown setting 'zap'"),
        ("retriever.k=interval(1,3)", "interval"),
        ("budget.euro=1", "unknown key 'euro'"),
        ("hydra/launcher=jblib", "did you mean 'joblib'"),
    ],
)
def test_a_mistake_in_a_sweep_is_told(override: str, words: str, tmp_path: Path) -> None:
    done = flows(tmp_path, "-m", *QUICK, "retriever.k=2,4", override)
    assert done.returncode == 2
    assert "1 error in the config:" in done.stderr and words in done.stderr and "Traceback" not in done.stderr


def test_every_wrong_point_is_told_and_the_others_run(tmp_path: Path) -> None:
    done = flows(tmp_path, "-m", *QUICK, "retriever.k=0,2,x")
    assert done.returncode == 2
    assert len(summaries(tmp_path)) == 2
    assert done.stdout.count("was not run") == 4 and "greater than 0" in done.stdout


def test_a_point_that_fails_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text('{"question": "x", "answer": "y"}\n')
    done = flows(
        tmp_path, "-m", "flow=rag_support", "retriever=bm25", "questions.limit=3", "model=extractive,replay",
        "++model.path=none.jsonl", "guardrail=none",
    )  # fmt: skip
    assert done.returncode in (1, 2)
    assert len(summaries(tmp_path)) >= 1


def test_a_sweep_of_one_point_is_a_sweep(tmp_path: Path) -> None:
    done = flows(tmp_path, "-m", "flow=chat", "model=echo", "question=hi")
    assert done.returncode == 0, done.stderr
    assert len(summaries(tmp_path)) == 1
