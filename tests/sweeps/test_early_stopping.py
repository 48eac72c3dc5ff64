"""Points that are clearly worse than the best stop early, and the rest of their work is not computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.sweeps.test_sweep import flows, summaries

SWEEP = (
    "-m", "flow=rag_support", "model=extractive,echo", "retriever=bm25", "reranker=none", "questions.limit=60",
    "prompt=rag_support/v1,rag_support/v2", "guardrail=none",
)  # fmt: skip
EARLY = ("sweep.stop=answer_correctness", "sweep.block=20")


def computed(summaries: list[dict[str, Any]]) -> int:
    return sum(counts.get("computed", 0) for summary in summaries for counts in summary["stages"].values())


def test_clearly_worse_points_stop_and_the_avoided_work_is_reported(tmp_path: Path) -> None:
    process = flows(tmp_path, *SWEEP, *EARLY)
    assert process.returncode == 0, process.stderr
    stopped = summaries(tmp_path)
    assert [summary["records"] for summary in stopped] == [60, 60, 20, 20]
    assert stopped[2]["stopped"] == {"answers": 20, "of": 60, "behind": 0} and "stopped" not in stopped[0]
    assert "stopped after 20 of 60 answers: clearly worse than point 0 by answer_correctness" in process.stdout
    assert "not computed: model 80," in process.stdout and "; 2 stopped early" in process.stdout
    assert "stopped early, clearly worse than the best: 2, 3" in process.stdout

    again = flows(tmp_path, *SWEEP, *EARLY)
    assert again.returncode == 0 and [summary["records"] for summary in summaries(tmp_path)] == [60, 60, 20, 20]
    assert computed(summaries(tmp_path)) == computed(stopped[:2])

    complete = flows(tmp_path, *SWEEP)
    assert complete.returncode == 0 and [summary["records"] for summary in summaries(tmp_path)] == [60] * 4


def test_a_point_that_is_not_worse_answers_all_questions(tmp_path: Path) -> None:
    process = flows(tmp_path, *SWEEP, "model=extractive", *EARLY)
    assert process.returncode == 0, process.stderr
    assert [summary["records"] for summary in summaries(tmp_path)] == [60, 60] and "stopped" not in process.stdout


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sweep.stop=answer_corectness", "did you mean 'answer_correctness'"),
        ("sweep.workers=2", "stop compares points of one process"),
        ("sweep.block=0", "sweep.block"),
        ("hydra/launcher=joblib", "stop compares points of one process"),
    ],
)
def test_invalid_settings_are_reported_before_anything_runs(override: str, message: str, tmp_path: Path) -> None:
    process = flows(tmp_path, *SWEEP, *EARLY, override)
    assert process.returncode == 2 and message in process.stderr and "Traceback" not in process.stderr
