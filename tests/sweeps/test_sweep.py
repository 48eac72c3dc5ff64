"""Points of a sweep share what they compute, and a sweep computes what was planned."""

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
    """The summaries of the points of the last sweep, in order."""
    last = max((folder / "multirun").glob("*/*"), key=lambda path: path.stat().st_mtime_ns)
    paths = sorted(last.glob("*/summary.json"), key=lambda path: int(path.parent.name))
    return [json.loads(path.read_text()) for path in paths]


def executed(folder: Path) -> dict[str, int]:
    total: dict[str, int] = {}
    for summary in summaries(folder):
        for name, counts in summary["stages"].items():
            total[name] = total.get(name, 0) + counts.get("computed", 0)
    return total


def planned(text: str) -> dict[str, int]:
    rows = re.findall(r"^(\w+) +\d+ +\d+ +(\d+) ", text, re.MULTILINE)
    return {name: int(count) for name, count in rows}


def test_shared_results_are_computed_once_as_planned(tmp_path: Path) -> None:
    axes = ("prompt=glob(rag_support/*)", "reranker=none,sentences", "guardrail=none")
    plan = flows(tmp_path, "plan", "-m", *QUICK, *axes)
    assert plan.returncode == 0, plan.stderr
    assert plan.stdout.startswith("12 points")
    process = flows(tmp_path, "-m", *QUICK, *axes)
    assert process.returncode == 0, process.stderr
    assert len(summaries(tmp_path)) == 12
    plan_counts, computed_counts = planned(plan.stdout), executed(tmp_path)
    assert plan_counts["retrieve"] == computed_counts["retrieve"] == 4
    assert plan_counts["rerank"] == computed_counts["rerank"] == 8
    assert plan_counts["prompt"] == 24 >= computed_counts["prompt"] > 12  # equal sentences make equal prompts
    assert all(computed_counts[name] <= plan_counts[name] for name in plan_counts)

    again = flows(tmp_path, "-m", *QUICK, *axes)
    assert again.returncode == 0, again.stderr
    assert sum(executed(tmp_path).values()) == 0
    assert all(count == 0 for count in planned(flows(tmp_path, "plan", "-m", *QUICK, *axes).stdout).values())


def test_results_are_those_of_the_basic_sweeper_of_hydra(tmp_path: Path) -> None:
    axes = ("reranker=none,sentences", "cache=none")
    assert flows(tmp_path, "-m", *QUICK, *axes).returncode == 0
    own = summaries(tmp_path)
    assert flows(tmp_path, "-m", *QUICK, *axes, "hydra/sweeper=basic").returncode == 0
    expected = summaries(tmp_path)
    assert [s["scores"] for s in own] == [s["scores"] for s in expected]
    for summary, expected_summary in zip(own, expected, strict=True):
        assert summary["choices"].items() <= expected_summary["choices"].items()


def test_an_added_value_runs_only_the_new_points(tmp_path: Path) -> None:
    flows(tmp_path, "-m", *QUICK, "retriever.k=2,3", "guardrail=none")
    process = flows(tmp_path, "-m", *QUICK, "retriever.k=2,3,4", "guardrail=none")
    assert process.returncode == 0, process.stderr
    assert executed(tmp_path)["retrieve"] == 4


def test_duplicate_points_run_once(tmp_path: Path) -> None:
    process = flows(tmp_path, "-m", *QUICK, "model.limits.timeout=30,60")
    assert process.returncode == 2 or "2 duplicates of other points" in process.stdout


def test_zipped_axes_and_constraints(tmp_path: Path) -> None:
    axes = ("retriever.k=2,4,8", "reranker.count=1,2,3", "guardrail=none")
    process = flows(
        tmp_path, "-m", *QUICK, *axes,
        "sweep.zip=[[retriever.k,reranker.count]]", "sweep.where=retriever.k < 8 or model == echo",
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert len(summaries(tmp_path)) == 5


@pytest.mark.parametrize(
    ("override", "message"),
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
def test_an_error_in_a_sweep_is_reported(override: str, message: str, tmp_path: Path) -> None:
    process = flows(tmp_path, "-m", *QUICK, "retriever.k=2,4", override)
    assert process.returncode == 2
    assert (
        "1 error in the config:" in process.stderr and message in process.stderr and "Traceback" not in process.stderr
    )


def test_every_invalid_point_is_reported_and_the_others_run(tmp_path: Path) -> None:
    process = flows(tmp_path, "-m", *QUICK, "retriever.k=0,2,x")
    assert process.returncode == 2
    assert len(summaries(tmp_path)) == 2
    assert process.stdout.count("was not run") == 4 and "greater than 0" in process.stdout


def test_a_failed_point_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text('{"question": "x", "answer": "y"}\n')
    process = flows(
        tmp_path, "-m", "flow=rag_support", "retriever=bm25", "questions.limit=3", "model=extractive,replay",
        "++model.path=none.jsonl", "guardrail=none",
    )  # fmt: skip
    assert process.returncode in (1, 2)
    assert len(summaries(tmp_path)) >= 1


def test_a_sweep_of_one_point_is_a_sweep(tmp_path: Path) -> None:
    process = flows(tmp_path, "-m", "flow=chat", "model=echo", "question=hi")
    assert process.returncode == 0, process.stderr
    assert len(summaries(tmp_path)) == 1
