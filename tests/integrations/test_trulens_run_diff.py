"""Scores that TruLens's judges gave are compared as TruLens compares runs; what is equal is not told."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmops_flows.cli.main import main
from llmops_flows.integrations.trulens.run_diff import judge_metrics, run_diff
from llmops_flows.report import run_files
from llmops_flows.report.comparison import as_data, compare
from llmops_flows.report.saved_runs import SavedRun
from llmops_flows.report.text.comparison_text import format_comparison
from tests.support.sweeps import row

CONFIG = {
    "name": "shop",
    "evaluator": {
        "judged_groundedness": {
            "_target_": "llmops_flows.components.evaluator.trulens.TruLensJudge",
            "metric": "groundedness",
        },
        "correctness": {"_target_": "llmops_flows.components.evaluator.basic.Correctness"},
    },
}


def scored(shift: float, *, missing: int = -1) -> list[dict[str, Any]]:
    chance = random.Random(3)
    rows = [row(f"q{n}", judged_groundedness=round(chance.random() * 0.5, 3), other=0.5) for n in range(20)]
    for n, line in enumerate(rows):
        line["scores"]["judged_groundedness"] += shift if n % 4 else -shift
        if n == missing:
            line["scores"]["judged_groundedness"] = None
    return rows


def test_only_metrics_of_trulens_are_its_affair() -> None:
    assert judge_metrics(CONFIG) == {"judged_groundedness"} and judge_metrics({}) == set()


def test_the_difference_is_what_trulens_says() -> None:
    from trulens.core.utils.stats import bootstrap_ci, paired_permutation_pvalue

    [(name, said)] = run_diff(("a", scored(0.0)), ("b", scored(0.1)), {"judged_groundedness"}).items()
    steps = [0.1 if n % 4 else -0.1 for n in range(20)]
    assert name == "judged_groundedness" and said["mean_delta"] == pytest.approx(0.05)
    assert (said["n_regressed"], said["n_items"]) == (5, 20)
    items = {item["input"]: item for item in said["items"]}
    assert items["What about q4?"]["regressed"] and not items["What about q5?"]["regressed"]
    assert said["p_value"] == pytest.approx(paired_permutation_pvalue(steps), abs=0.01)
    low, high = bootstrap_ci(np.array(steps))
    assert (said["ci_lower"], said["ci_upper"]) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))


def test_a_score_that_is_missing_is_no_difference_of_zero() -> None:
    said = run_diff(("a", scored(0.0)), ("b", scored(0.1, missing=7)), {"judged_groundedness"})["judged_groundedness"]
    item = next(item for item in said["items"] if item["input"] == "What about q7?")
    assert (item["score_b"], item["delta"], item["regressed"]) == (None, None, False)
    json.dumps(said, allow_nan=False)


def test_equal_scores_other_questions_and_failed_rows_tell_nothing() -> None:
    metrics = {"judged_groundedness"}
    assert run_diff(("a", scored(0.1)), ("b", scored(0.1)), metrics) == {}
    other = [{**line, "question": f"another {n}"} for n, line in enumerate(scored(0.3))]
    assert run_diff(("a", scored(0.1)), ("b", other), metrics) == {}
    assert run_diff(("a", scored(0.1)), ("b", [row("q0", error="down")]), metrics) == {}


def test_diff_tells_it_beside_our_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, rows in (("a", scored(0.0)), ("b", scored(0.1))):
        run_files.write_run(tmp_path / name, [], {"run": ""}, CONFIG)
        (tmp_path / name / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rows))
    assert main(["diff", str(tmp_path / "a"), str(tmp_path / "b"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["judged"]) == {"judged_groundedness"} == set(found["scores"])
    ours = found["scores"]["judged_groundedness"]
    assert len(ours["regressed"]) == found["judged"]["judged_groundedness"]["n_regressed"]
    assert ours["difference"]["mean"] == pytest.approx(found["judged"]["judged_groundedness"]["mean_delta"])

    assert main(["diff", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "scores of TruLens's judges, by its RunDiff\n" in capsys.readouterr().out
    assert main(["diff", str(tmp_path / "a"), str(tmp_path / "a"), "--json"]) == 0
    same = json.loads(capsys.readouterr().out)
    assert same["identical"] is True and not same["judged"]


def test_the_section_is_part_of_what_counts_as_empty() -> None:
    one = SavedRun("a", config=CONFIG, rows=scored(0.0))
    found = compare(one, one)
    assert found.identical and as_data(found)["judged"] == {}
    told = run_diff(("a", scored(0.0)), ("b", scored(0.1)), {"judged_groundedness"})
    assert not replace(found, judged=told).identical and "5 of 20" in format_comparison(replace(found, judged=told))
