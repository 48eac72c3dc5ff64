"""A replay reads a run from its traces alone, and reports what is missing or differs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmops_flows.components.cache.exact import ExactCache
from llmops_flows.components.cache.none import NoCache
from llmops_flows.core.cache_policy import CachePolicy
from llmops_flows.core.errors import StoreError
from llmops_flows.core.record import Record
from llmops_flows.report.replay import ReplayedRun, replay
from llmops_flows.report.saved_runs import read_run
from tests.support.records import RecordedRuns
from tests.support.stub_stages import RUN_COUNTS, Guard, Say, question_records, rag_flow


@pytest.fixture
def place(tmp_path: Path) -> RecordedRuns:
    return RecordedRuns(tmp_path)


def again(place: RecordedRuns, folder: Path) -> ReplayedRun:
    return replay(read_run(folder), place.traces)


def problems(found: ReplayedRun) -> list[tuple[str, str]]:
    return [(problem.kind, problem.row) for problem in found.problems]


def change(folder: Path, edit: Callable[[list[dict[str, Any]]], None]) -> None:
    """Change what results.jsonl says."""
    path = folder / "results.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    edit(lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def damage(place: RecordedRuns, statement: str, *given: Any) -> None:
    """Change the trace store behind everybody's back."""
    with closing(sqlite3.connect(place.folder / "traces.sqlite")) as db, db:
        assert db.execute(statement, given).rowcount > 0


def test_a_store_that_cannot_be_read_is_a_problem(place: RecordedRuns) -> None:
    place.run()
    folder, traces = place.run(), place.traces  # the second run knew its answers
    with closing(sqlite3.connect(place.folder / "traces.sqlite")) as db, db:
        db.execute("DELETE FROM contents")

    def broken(addresses: Sequence[str]) -> dict[str, bytes]:
        raise StoreError("the server is down")

    traces.read_values = broken
    assert "not readable: the server is down" in replay(read_run(folder), traces).problems[0].message


def test_a_replay_gives_the_same_rows_and_computes_nothing(place: RecordedRuns) -> None:
    folder = place.run(rag_flow(guard=Guard(blocks="who")))
    before = dict(RUN_COUNTS)
    found = again(place, folder)
    assert dict(RUN_COUNTS) == before
    assert not found.problems and found.compared and (found.unchanged, found.total) == (2, 2)
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    clock = ("seconds", "took")
    assert [{k: v for k, v in row.items() if k not in clock} for row in found.rows] == [
        {k: v for k, v in line.items() if k not in clock} for line in lines
    ]


def test_known_answers_are_replayed_like_computed_ones(place: RecordedRuns) -> None:
    place.run()
    assert not again(place, place.run()).problems


def test_answers_that_the_store_evicted_are_still_replayed(place: RecordedRuns) -> None:
    folder = place.run()
    place.store.evict(max_bytes=0)
    assert not again(place, folder).problems


def test_a_run_of_known_answers_outlives_the_store(place: RecordedRuns) -> None:
    place.run(traced=False)
    folder = place.run()
    place.store.evict(max_bytes=0)
    found = again(place, folder)
    assert not found.problems and found.rows[0]["answer"] == "said Answer: why? (2)"
    [model] = [s for s in place.traces.traces(place.runs[1])[0].steps if s.stage == "model"]
    assert model.inputs["messages"]  # nobody had read it: every stage was known


@pytest.mark.parametrize("cache", [NoCache(), ExactCache(refresh=True)])
def test_answers_that_are_not_stored_are_replayed(place: RecordedRuns, cache: CachePolicy) -> None:
    assert not again(place, place.run(rag_flow(model=Say(temperature=0.5)), cache=cache)).problems


def test_an_answer_with_a_secret_is_replayed_masked(place: RecordedRuns) -> None:
    folder = place.run(records=question_records("why? password=hunter2hunter2"))
    found = again(place, folder)
    assert not found.problems and "[REDACTED]" in found.rows[0]["answer"]


def test_a_rewritten_question_is_replayed_as_rewritten(place: RecordedRuns) -> None:
    class Rewrite(Guard):
        writes = "question"

        def run(self, question: str) -> str:  # type: ignore[override]
            return question.upper()

    folder = place.run(rag_flow(again=Rewrite()))
    found = again(place, folder)
    assert not found.problems and found.rows[0]["question"] == "WHY?"


def test_a_failed_row_is_a_problem(place: RecordedRuns) -> None:
    found = again(place, place.run(rag_flow(model=Say(fails_on="who"))))
    assert problems(found) == [("failed", "q1")] and "out of luck" in found.problems[0].message and found.unchanged == 1


def test_an_edited_result_differs(place: RecordedRuns) -> None:
    folder = place.run()
    change(folder, lambda lines: lines[1].update(answer="something else"))
    found = again(place, folder)
    assert problems(found) == [("differs", "q1")] and "'answer'" in found.problems[0].message


def test_additional_and_missing_rows_are_problems(place: RecordedRuns) -> None:
    folder = place.run()
    change(folder, lambda lines: lines[1].update(id="q9"))
    assert sorted(problems(again(place, folder))) == [("differs", "q1"), ("missing", "q9")]


def test_damaged_values_are_read_from_the_answer_store(place: RecordedRuns) -> None:
    folder = place.run()
    damage(place, "UPDATE contents SET data = x'7b'")
    found = again(place, folder)
    assert {problem.message for problem in found.problems} <= {
        "its input 'question' is damaged",
        "the config of the run is lost",
    }
    place.store.evict(max_bytes=0)
    assert "the answer of 'model' is damaged" in {problem.message for problem in again(place, folder).problems}


def test_missing_values_are_problems(place: RecordedRuns) -> None:
    folder = place.run()
    place.store.evict(max_bytes=0)
    damage(place, "DELETE FROM contents")
    found = again(place, folder)
    assert "the answer of 'model' is evicted, or lost" in {problem.message for problem in found.problems}
    assert found.unchanged == 0 and found.total == 2


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"inputs": 1, "outputs": {}, "steps": []}'])
def test_a_damaged_trace_is_a_problem_of_its_row(place: RecordedRuns, data: bytes) -> None:
    folder = place.run()
    damage(place, "UPDATE traces SET data = ? WHERE seq = 1", data)
    found = again(place, folder)
    assert problems(found) == [("missing", "q0")] and "damaged" in found.problems[0].message and found.unchanged == 1


def test_a_score_that_was_changed_in_the_trace_differs(place: RecordedRuns) -> None:
    folder = place.run()
    changed = """replace(data, '"length":0.', '"length":9.')"""
    damage(place, f"UPDATE traces SET data = CAST({changed} AS BLOB) WHERE seq = 2")
    assert {row for _, row in problems(again(place, folder))} == {"q1"}


def test_a_run_without_traces_has_nothing_to_replay(place: RecordedRuns) -> None:
    found = again(place, place.run(traced=False))
    assert problems(found) == [("missing", "q0"), ("missing", "q1")] and not found.rows


def test_samples_are_rows_of_their_own(place: RecordedRuns) -> None:
    rows = [Record.of(f"q0.{n}", {"question": "why?"}, sample=n) for n in range(3)]
    found = again(place, place.run(rag_flow(model=Say(temperature=0.5)), rows))
    assert not found.problems and [row["sample"] for row in found.rows] == [0, 1, 2]
