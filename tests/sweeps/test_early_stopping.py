"""Points that are worse than the best beyond doubt stop early; what is saved is told, and the best stays the best."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sweeps.test_sweep import flows, summaries

SWEEP = (
    "-m", "flow=rag_support", "model=extractive,echo", "retriever=bm25", "reranker=none", "questions.limit=60",
    "prompt=rag_support/v1,rag_support/v2", "guardrail=none",
)  # fmt: skip
EARLY = ("sweep.stop=answer_correctness", "sweep.block=20")


def test_hopeless_points_stop_and_the_saving_is_told(tmp_path: Path) -> None:
    done = flows(tmp_path, *SWEEP, *EARLY)
    assert done.returncode == 0, done.stderr
    found = summaries(tmp_path)
    assert [one["records"] for one in found] == [60, 60, 20, 20]
    assert found[2]["stopped"] == {"answers": 20, "of": 60, "behind": 0} and "stopped" not in found[0]
    assert "stopped after 20 of 60 answers: clearly worse than point 0 by answer_correctness" in done.stdout
    assert "not computed: model 80," in done.stdout and "; 2 stopped early" in done.stdout
    assert "stopped early, worse than the best beyond doubt: 2, 3" in done.stdout

    again = flows(tmp_path, *SWEEP, *EARLY)
    assert again.returncode == 0 and [one["records"] for one in summaries(tmp_path)] == [60, 60, 20, 20]
    assert sum(counts.get("computed", 0) for one in summaries(tmp_path) for counts in one["stages"].values()) == sum(
        counts.get("computed", 0) for one in found[:2] for counts in one["stages"].values()
    )

    whole = flows(tmp_path, *SWEEP)
    assert whole.returncode == 0 and [one["records"] for one in summaries(tmp_path)] == [60] * 4


def test_a_point_that_is_not_worse_is_asked_everything(tmp_path: Path) -> None:
    done = flows(tmp_path, *SWEEP, "model=extractive", *EARLY)
    assert done.returncode == 0, done.stderr
    assert [one["records"] for one in summaries(tmp_path)] == [60, 60] and "stopped" not in done.stdout


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("sweep.stop=answer_corectness", "did you mean 'answer_correctness'"),
        ("sweep.workers=2", "stop compares points of one process"),
        ("sweep.block=0", "sweep.block"),
        ("hydra/launcher=joblib", "stop compares points of one process"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(override: str, words: str, tmp_path: Path) -> None:
    done = flows(tmp_path, *SWEEP, *EARLY, override)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
