"""Runs of the command line, read back with TruLens's own session: leaderboard, records, questions and answers."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmops_flows.components.tracer.trulens import TruLensExporter
from llmops_flows.core.trace import Step, Trace
from llmops_flows.integrations.trulens.database import open_connector

READ = """
import json, logging, os, sys, warnings
warnings.simplefilter("ignore"); logging.disable(logging.CRITICAL)
from trulens.core import TruSession
session = TruSession(database_url="sqlite:///" + sys.argv[1])
board = session.get_leaderboard().reset_index()
records, metrics = session.get_records_and_feedback()
rows = records[["record_id", "app_name", "app_version", "input", "output", "latency", "total_cost", "total_tokens"]]
found = {"board": board.to_dict("records"), "records": rows.to_dict("records"), "metrics": sorted(metrics),
         "apps": [app["app_name"] for app in session.get_apps()]}
print("FOUND" + json.dumps(found), flush=True)
os._exit(0)
"""


def read(database: Path) -> dict[str, Any]:
    """What TruLens itself sees in a database."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(database)], capture_output=True, text=True, timeout=100, cwd=database.parent
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("FOUND")), None)
    assert line is not None, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(line.removeprefix("FOUND"))
    return found


def seen(database: Path) -> dict[str, Any]:
    """The same by the connector that a session asks, in this process: TruLens takes seconds to load."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        connector = open_connector(database)
        board = connector.get_leaderboard().reset_index().to_dict("records")
        records, _ = connector.get_records_and_feedback()
        connector.db.engine.dispose()
    return {"board": board, "records": records.to_dict("records")}


def command(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "llmops_flows", *arguments], capture_output=True, text=True, timeout=100, cwd=folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def trace(answer: str = "Yes.", *, id: str = "a" * 32, record: str = "q1", **fields: Any) -> Trace:
    scored = Step(
        stage="correct", kind="evaluator", state="computed", started=5.0, seconds=1.0, output={"correct": 0.25},
        notes={"reasons": ["because"]}, usage={"input_tokens": 7, "output_tokens": 1, "cost_usd": 0.5},
    )  # fmt: skip
    said = Step(
        stage="model", kind="model", state="computed", started=1.0, seconds=2.0, output=answer, slot="answer",
        usage={"input_tokens": 10, "output_tokens": 5, "cost_usd": 0.125}, settings={"name": "small"},
    )  # fmt: skip
    given: dict[str, Any] = {
        "id": id, "run": "r", "record": record, "flow": "support", "identity": "f" * 64, "started": 1.0,
        "seconds": 5.0, "inputs": {"question": "Is it?"}, "outputs": {"answer": answer}, "steps": (said, scored),
    }  # fmt: skip
    return Trace(**{**given, **fields})


def test_the_leaderboard_of_a_run_says_what_its_summary_says(tmp_path: Path, home: Path) -> None:
    run = ("flow=rag_support", "model=extractive", "retriever=bm25", "questions.limit=6", "hydra.run.dir=out")
    command(tmp_path, *run)
    command(tmp_path, "ship", "trulens", "run=last")
    command(tmp_path, *run)  # the same again: nothing is computed
    command(tmp_path, "ship", "trulens", "run=last")
    found = read(home / "trulens.sqlite")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    results = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text("utf-8").splitlines()]
    [board] = found["board"]
    told = {metric: score["mean"] for metric, score in summary["scores"].items() if score["mean"] is not None}
    assert sorted(told) == found["metrics"]
    assert {metric: board[metric] for metric in told} == pytest.approx(told, abs=1e-9)
    assert {(r["input"], r["output"]) for r in found["records"]} == {(r["question"], r["answer"]) for r in results}
    assert len(found["records"]) == 6 and found["apps"] == ["rag_support"]
    assert not (tmp_path / "default.sqlite").exists()


def test_a_record_has_the_traces_id_latency_tokens_and_cost_of_the_answer_not_of_its_judge(tmp_path: Path) -> None:
    database = tmp_path / "trulens.sqlite"
    assert TruLensExporter(path=database).deliver([trace()]) == ["a" * 32]
    [record] = seen(database)["records"]
    assert record["record_id"] == "a" * 32 and record["app_version"] == "ffffffff"
    assert record["latency"] == pytest.approx(2.0) and record["total_tokens"] == 15
    assert record["total_cost"] == pytest.approx(0.125)


def test_sending_again_changes_nothing_and_later_scores_join_their_record(tmp_path: Path) -> None:
    database = tmp_path / "trulens.sqlite"
    exporter = TruLensExporter(path=database)
    exporter.deliver([trace(), trace("No.", id="b" * 32, record="q2")])
    exporter.deliver([trace()])
    more = Step(stage="judge", kind="evaluator", state="computed", started=9.0, seconds=1.0, output={"judged": 0.75})
    exporter.deliver([trace(id="c" * 32, steps=(*trace().steps, more))])
    exporter.deliver([trace("Changed.", id="d" * 32)])
    found = seen(database)
    assert sorted(record["record_id"][0] for record in found["records"]) == ["a", "b", "d"]
    [board] = found["board"]
    assert board["correct"] == 0.25 and board["judged"] == 0.75


def test_what_scoring_cost_stays_when_the_scores_are_known_the_next_time(tmp_path: Path) -> None:
    database = tmp_path / "trulens.sqlite"
    exporter = TruLensExporter(path=database)
    exporter.deliver([trace()])
    exporter.deliver([trace(id="b" * 32, steps=tuple(replace(step, state="known") for step in trace().steps))])
    [record] = seen(database)["records"]
    assert record["eval_cost"] == 0.5 and record["total_cost"] == 0.125


def test_a_score_that_changed_replaces_the_old_one(tmp_path: Path) -> None:
    database = tmp_path / "trulens.sqlite"
    exporter = TruLensExporter(path=database)
    exporter.deliver([trace()])
    model, scored = trace().steps
    exporter.deliver([trace(id="b" * 32, steps=(model, replace(scored, output={"correct": 1.0})))])
    [board] = seen(database)["board"]
    assert board["correct"] == 1.0


def test_versions_of_a_flow_stand_side_by_side(tmp_path: Path) -> None:
    database = tmp_path / "trulens.sqlite"
    chosen = {"prompt": "v2", "model": "small", "retriever": "none", "store": "sqlite"}
    TruLensExporter(path=database).deliver([trace(), trace(id="b" * 32, identity="e" * 64, choices=chosen)])
    TruLensExporter(path=database, app_version="mine").deliver([trace(id="c" * 32)])
    assert {row["app_version"] for row in seen(database)["board"]} == {"ffffffff", "v2 small eeeeeeee", "mine"}


def test_many_processes_may_make_the_database_at_once(tmp_path: Path) -> None:
    database = tmp_path / "trulens.sqlite"
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.components.test_trulens_exporter import TruLensExporter, trace\n"
        "TruLensExporter(path=Path(sys.argv[1])).deliver([trace(id=sys.argv[2] * 32, record=sys.argv[2])])"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(database), name], stderr=subprocess.PIPE) for name in "12"
    ]
    told = [process.communicate(timeout=100)[1].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0], told
    assert len(seen(database)["records"]) == 2


def test_a_failed_record_is_shown_with_its_error(tmp_path: Path) -> None:
    database = tmp_path / "trulens.sqlite"
    TruLensExporter(path=database).deliver(
        [trace(steps=(), outputs={}, error="the model is down", error_kind="StageError")]
    )
    [record] = seen(database)["records"]
    assert record["input"] == "Is it?" and record["output"] == ""
