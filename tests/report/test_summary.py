"""The summary of a run has means, totals and errors, and an error is never a score."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from llmops_flows import Flow, Outcome, Record, Runner, Stage
from llmops_flows.core.flow import Fallback
from llmops_flows.core.record import Usage
from llmops_flows.report.statistics.intervals import mean_interval, quantile
from llmops_flows.report.summary import results_row, summarize
from llmops_flows.report.text import run_text

DATA = Path(__file__).parent.parent / "data" / "rag_northwind"
PUBLISHED: dict[str, dict[str, dict[str, float]]] = json.loads((DATA / "published_summaries.json").read_text())
GRADES = ("gpt_groundedness", "gpt_relevance")


class Answer(Stage):
    """Costs something, and fails on the question `broken`."""

    writes = "answer"

    def run(self, question: str) -> Outcome:
        if question == "broken":
            raise RuntimeError("the model is down")
        return Outcome(question, usage=Usage(input_tokens=5, output_tokens=1, cost_usd=0.25))


class Scored(Stage):
    """Gives the answer, read as a number, as its score; costs more than the answer, and takes longer."""

    writes = "scores"
    gathered = True

    def run(self, answer: str) -> Outcome:
        time.sleep(0.02)
        return Outcome({"score": float(answer)}, usage=Usage(input_tokens=50, output_tokens=10, cost_usd=1.0))


def ran(*questions: str, flow: Flow | None = None) -> list[Record]:
    rows = [Record.of(f"{n}", {"question": question}) for n, question in enumerate(questions)]
    with Runner() as runner:
        return runner.run(flow or Flow(stages={"answer": Answer()}), rows, evaluators={"scored": Scored()})


def test_an_empty_answer_is_not_ok() -> None:
    [blank, said] = ran(" \n", "1.0")
    assert [run_text.verdict(record) for record in (blank, said)] == ["empty", "ok"]
    told = summarize([blank, said])
    assert told["empty"] == 1 and "0 of them refused, 1 of them empty, in" in run_text.totals_text(told)
    assert "empty" not in run_text.totals_text(summarize([said]))


@pytest.mark.parametrize("run", sorted(PUBLISHED))
def test_published_means_are_reproduced(run: str) -> None:
    lines = [json.loads(line) for line in (DATA / "published_runs.jsonl").read_text().splitlines()]
    rows = [line for line in lines if line["run"] == run]
    for metric, told in PUBLISHED[run].items():
        values = [float(one[metric]) for one in rows]
        mean, low, high, n = mean_interval(values)
        assert mean is not None and low is not None and high is not None
        assert n == 200 and low <= mean <= high
        wanted = told["mean_rating" if metric in GRADES else "mean"]
        assert round(mean, 2) == pytest.approx(wanted, abs=1e-9)
        if metric in GRADES:
            assert sum(value >= 4 for value in values) == told["pass_count"]
        else:
            assert quantile(values, 1.0) == pytest.approx(told["max"], abs=1e-9)


def test_errors_are_counted_and_left_out_of_the_means() -> None:
    told = summarize(ran("0.5", "broken", "high", "1"))
    assert told["scores"]["score"]["mean"] == 0.75 and told["scores"]["score"]["n"] == 2
    assert told["errors"]["records"] == 1 and told["errors"]["rate"] == 0.25 and told["errors"]["evaluations"] == 1
    assert any("the model is down" in cause for cause in told["errors"]["causes"])
    assert any(cause.startswith("scored: ") and "'high'" in cause for cause in told["errors"]["causes"])


def test_judging_is_not_part_of_latency_and_cost() -> None:
    records = ran("0.5", "1")
    told = summarize(records)
    assert told["cost"]["mean"] == 0.25 and told["judging"]["cost_usd"] == 2.0
    assert told["usage"]["cost_usd"] == 2.5 and told["usage"]["input_tokens"] == 110
    assert told["latency"]["mean"] < 0.02 and results_row(records[0])["seconds"] < 0.02
    assert "of them for judging: tokens 100 in, 20 out; cost 2.0000 USD" in run_text.totals_text(told)


def test_a_fallback_is_not_a_failed_evaluation() -> None:
    class Down(Stage):
        writes = "answer"

        def run(self, question: str) -> str:
            raise RuntimeError("down")

    flow = Flow(stages={"model": Fallback(stages={"first": Down(), "second": Answer()})})
    told = summarize(ran("1", flow=flow))
    assert told["answered"] == 1 and told["errors"]["evaluations"] == 0


def test_where_everything_fails_no_metric_has_a_score() -> None:
    told = summarize(ran("broken", "broken"))
    assert told["scores"] == {} and run_text.scores_table(told) == "scores n/a"
    assert told["latency"]["mean"] is None and "n/a" in run_text.totals_text(told)


def test_a_run_in_which_every_call_fails_ends_with_no_scores_and_exit_code_1(tmp_path: Path) -> None:
    nothing: dict[str, Any] = {"question": "something else", "answer": "x"}
    (tmp_path / "answers.jsonl").write_text(json.dumps(nothing) + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "llmops_flows", "flow=rag_support", "retriever=bm25", "questions.limit=3",
         "model=replay", "model.path=answers.jsonl", "guardrail=none", "hydra.run.dir=out"],
        capture_output=True, text=True, timeout=100, cwd=tmp_path,
    )  # fmt: skip
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert done.returncode == 1 and "scores n/a" in done.stdout
    assert summary["scores"] == {} and summary["errors"]["records"] == 3


def test_samples_of_one_question_do_not_make_an_interval_narrower() -> None:
    def told(samples: int) -> dict[str, Any]:
        asked = [Record.of(f"q{n}.{s}", {"question": str(n / 8)}, sample=s) for n in range(8) for s in range(samples)]
        with Runner() as runner:
            runner.run(Flow(stages={"answer": Answer()}), asked, evaluators={"scored": Scored()})
        found: dict[str, Any] = summarize(asked)["scores"]["score"]
        return found

    assert told(1) == told(4)
    assert told(4)["n"] == 8


def test_a_budget_of_seconds_is_not_rounded_to_nothing() -> None:
    minutes = {"spent": 0.067, "limit": 0.05, "left": 0.0}
    assert run_text.budget_text({"minutes": minutes, "unknown": 0}) == "budget: 0.07 of 0.05 minutes spent, 0.00 left"
