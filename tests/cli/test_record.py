"""After a run: why it computed what it did, its answers from the record alone, and the flow that does the same."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmops_flows.cli.main import main

Verb = Callable[..., tuple[int, str, str]]
AXES = ("prompt=rag_support/v1,rag_support/v2", "retriever.k=2,5")


def flows(folder: Path, *arguments: str) -> str:
    """A run as a user types it, with a home of its own beside it."""
    done = subprocess.run(
        [sys.executable, "-m", "llmops_flows", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=110,
        env={**os.environ, "LLMOPS_FLOWS_HOME": str(folder / "home")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("record")
    flows(folder, "-m", "flow=rag_support", "model=extractive", "retriever=bm25", *AXES, "questions.limit=4")
    return folder


@pytest.fixture
def place(swept: Path, tmp_path: Path) -> Path:
    """A copy of the sweep for a test that changes something."""
    copy = tmp_path / "copy"
    shutil.copytree(swept, copy)
    for path in copy.glob("multirun/*/*/*/config.json"):  # where its traces lie
        path.write_text(path.read_text().replace(str(swept), str(copy)))
    return copy


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Verb]:
    """A verb in a folder, in this process: code, standard output and error."""

    def call(folder: Path, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("LLMOPS_FLOWS_HOME", str(folder / "home"))
        capsys.readouterr()
        code = main(arguments)
        return code, *capsys.readouterr()

    yield call


def points(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("multirun/*/*/*/results.jsonl"))


def options(point: Path) -> dict[str, Any]:
    config = json.loads((point / "config.json").read_text())
    choices = json.loads((point / "summary.json").read_text())["choices"]
    return {"prompt": choices["prompt"], "k": config["retriever"]["k"]}


# -- why -------------------------------------------------------------------------------------------------------------


def test_why_names_the_key_that_a_point_varies_at_the_stage_that_it_varies(swept: Path, verb: Verb) -> None:
    _, *later = points(swept)
    changed = next(point for point in later if options(point)["prompt"] != options(points(swept)[0])["prompt"])
    code, out, _ = verb(swept, "why", changed.name, "prompt")
    assert code == 0 and re.search(r"^prompt +\d computed: 'messages' changed \(before: run \w{8}\)$", out, re.M)
    assert "+" in out and "rows " in out


def test_a_run_in_which_nothing_is_new_computes_nothing(place: Path, verb: Verb) -> None:
    flows(place, "flow=rag_support", "model=extractive", "retriever=bm25", "questions.limit=4")
    code, out, _ = verb(place, "why", "last")
    assert code == 0 and "computed" not in out and re.search(r"^retrieve +4 known$", out, re.M)


def test_why_speaks_json(swept: Path, verb: Verb) -> None:
    found = json.loads(verb(swept, "why", "0", "--json")[1])
    stages = {stage["stage"]: stage for stage in found["stages"]}
    assert stages["retrieve"]["groups"][0]["causes"][0]["kind"] == "first" and len(found["run"]) == 32


def test_why_finds_a_run_by_its_folder_its_number_and_its_id(swept: Path, verb: Verb) -> None:
    point = points(swept)[1]
    run = json.loads((point / "summary.json").read_text())["run"]
    told = {verb(swept, "why", word)[1] for word in (str(point), point.name, run, run[:8])}
    assert len(told) == 1


def test_an_answer_of_an_app_is_found_by_its_own_run_id(place: Path, verb: Verb) -> None:
    program = "from llmops_flows import load_flow; print(load_flow('chat', 'model=echo').invoke('hello')['run_id'])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=place, capture_output=True, text=True, timeout=60,
        env={**os.environ, "LLMOPS_FLOWS_HOME": str(place / "home")},
    )  # fmt: skip
    answer = done.stdout.strip()
    assert "chat, run" in verb(place, "why", answer)[1]
    code, out, _ = verb(place, "replay", answer.replace("-", ""))
    assert code == 0 and "hello" in out and "1 of 1 row" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("why", "0", "retreive"), "did you mean 'retrieve'?"),
        (("why", "lst"), "did you mean 'last'?"),
        (("why", "99"), "point 99 not found"),
        (("why",), "required: RUN"),
        (("why", "0", "--jsn"), "did you mean '--json'?"),
        (("replay", "multirun"), "the folder has no results.jsonl"),
        (("replay",), "required: RUN"),
        (("replay", "0", "1"), "unexpected argument '1'"),
        (("promote", "0"), "required: NAME"),
        (("promote", "0", "a/b"), "no name of a flow"),
        (("promote", "bets", "better"), "unknown run 'bets'"),
        (("promote", "0", "x", "--froce"), "did you mean '--force'?"),
    ],
)
def test_a_slip_is_told_with_the_way_to_mend_it(swept: Path, verb: Verb, arguments: tuple[str, ...], told: str) -> None:
    code, out, err = verb(swept, *arguments)
    assert code in (1, 2) and told in err and not out and "Traceback" not in err


# -- replay ----------------------------------------------------------------------------------------------------------


def test_a_sweep_comes_out_the_same_from_the_record_alone(swept: Path, verb: Verb) -> None:
    before = {path: path.stat().st_mtime_ns for path in (swept / "home").rglob("*.sqlite")}
    code, out, _ = verb(swept, "replay", str(points(swept)[0].parent))
    assert code == 0 and out.count("4 of 4 rows from the traces alone, byte for byte") == 4
    assert {path: path.stat().st_mtime_ns for path in (swept / "home").rglob("*.sqlite")} == before


def test_a_replay_prints_the_answers_and_speaks_json(swept: Path, verb: Verb) -> None:
    lines = [json.loads(line) for line in (points(swept)[2] / "results.jsonl").read_text().splitlines()]
    code, out, _ = verb(swept, "replay", "2")
    assert code == 0 and all(line["id"] in out for line in lines)
    [found] = json.loads(verb(swept, "replay", "2", "--json")[1])
    assert [row["answer"] for row in found["rows"]] == [line["answer"] for line in lines]
    assert found["config"] == json.loads((points(swept)[2] / "config.json").read_text())


def test_nothing_is_loaded_for_a_replay(swept: Path) -> None:
    program = (
        "import sys; from llmops_flows.cli.main import main; code = main(['replay', '0']); "
        "print('\\n'.join(sys.modules)); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=swept, capture_output=True, text=True, timeout=60,
        env={**os.environ, "LLMOPS_FLOWS_HOME": str(swept / "home")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert not loaded & {"xllamacpp", "guardrails", "chromadb", "wordllama", "langchain_core", "llama_index"}
    assert "llmops_flows.engine.execute" not in loaded and "llmops_flows.components.retriever.bm25" not in loaded


def test_a_result_that_was_edited_ends_with_1(place: Path, verb: Verb) -> None:
    path = points(place)[1] / "results.jsonl"
    path.write_text(path.read_text().replace('"ended": null', '"ended": "model"', 1))
    code, out, _ = verb(place, "replay", "1")
    assert code == 1 and "3 of 4 rows" in out and "results.jsonl has another 'ended'" in out


def test_a_record_that_is_gone_ends_with_1(place: Path, verb: Verb) -> None:
    (place / "home" / "traces.sqlite").unlink()
    code, out, _ = verb(place, "replay", "0")
    assert code == 1 and "no trace of it is kept" in out


def test_a_run_that_kept_its_traces_elsewhere_is_found_by_its_folder(place: Path, verb: Verb) -> None:
    flows(place, "flow=chat", "model=echo", f"home={place}/other", "questions.limit=2")
    [folder] = (place / "outputs").glob("*/*")
    assert verb(place, "replay", str(folder))[0] == 0
    assert "the first run of this stage" in verb(place, "why", str(folder))[1]


def test_a_point_without_results_stops_no_other(place: Path, verb: Verb) -> None:
    (points(place)[2] / "results.jsonl").unlink()
    code, out, err = verb(place, "replay", str(points(place)[0].parent))
    assert code == 1 and out.count("4 of 4 rows") == 3 and "point 2: there is no results.jsonl" in err


def test_a_path_in_a_folder_from_elsewhere_touches_nobodys_file(place: Path, verb: Verb) -> None:
    other = place / "other.sqlite"
    with closing(sqlite3.connect(other)) as db, db:
        db.execute("CREATE TABLE mine (a)")
    note = place / "note.txt"
    note.write_text("mine")
    before = other.read_bytes()
    for path, target in zip(points(place), (other, note, place / "nothing.sqlite"), strict=False):
        config = json.loads((path / "config.json").read_text())
        config["tracer"]["local"]["path"] = config["store"]["path"] = str(target)
        (path / "config.json").write_text(json.dumps(config))
        assert verb(place, "replay", path.name)[1].count("4 of 4 rows") == 1  # from where runs keep theirs
    assert other.read_bytes() == before and note.read_text() == "mine" and not (place / "nothing.sqlite").exists()


# -- promote ---------------------------------------------------------------------------------------------------------


def test_the_winner_becomes_a_flow_that_computes_nothing(place: Path, verb: Verb) -> None:
    best = json.loads(verb(place, "board", "--json")[1])["points"][0]
    code, out, _ = verb(place, "promote", "best", "winner")
    written = (place / "conf" / "flow" / "winner.yaml").read_text()
    assert code == 0 and "every stage is the same" in out and best["run"][:12] in written
    assert written.splitlines()[0] == "# @package _global_" and str(place) not in written
    flows(place, "flow=winner")
    [folder] = (place / "outputs").glob("*/*")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["flow"] == "winner" and all(list(counts) == ["known"] for counts in summary["stages"].values())
    answers = [json.loads(line)["answer"] for line in (folder / "results.jsonl").read_text().splitlines()]
    point = next(point for point in points(place) if point.name == best["name"])
    assert answers == [json.loads(line)["answer"] for line in (point / "results.jsonl").read_text().splitlines()]


def test_a_run_is_promoted_from_its_record_too(place: Path, verb: Verb) -> None:
    run = json.loads((points(place)[3] / "summary.json").read_text())["run"]
    shutil.rmtree(place / "multirun")
    assert verb(place, "promote", run[:10], "kept")[0] == 0
    code, _, err = verb(place, "promote", run[:10], "kept")
    assert code == 2 and "already exists" in err
    assert verb(place, "promote", run[:10], "kept", "--force")[0] == 0
    assert "nothing wrong" in verb(place, "check", "flow=kept")[1]


def test_after_a_search_the_best_is_what_it_was_after(place: Path, verb: Verb) -> None:
    last = json.loads(verb(place, "board", "--json")[1])["points"][-1]
    (points(place)[0].parent / "optimization_results.json").write_text(json.dumps({"best": [int(last["name"])]}))
    assert verb(place, "promote", "best", "cheapest")[0] == 0
    assert last["run"][:12] in (place / "conf" / "flow" / "cheapest.yaml").read_text()


# -- diff ------------------------------------------------------------------------------------------------------------


def test_every_run_against_itself_is_empty_in_every_section(swept: Path, verb: Verb) -> None:
    for point in points(swept):
        found = json.loads(verb(swept, "diff", point.name, str(point), "--json")[1])
        sections = {key: value for key, value in found.items() if key not in ("first", "second", "rows", "identical")}
        assert found["identical"] is True and found["rows"] == 4 and not any(sections.values())
        assert {"config", "texts", "answers", "scores", "figures", "judged", "diverged_at"} <= set(sections)


def test_a_damaged_trace_stops_no_verb(place: Path, verb: Verb) -> None:
    with closing(sqlite3.connect(place / "home" / "traces.sqlite")) as db, db:
        db.execute("UPDATE traces SET data = substr(data, 1, 50) WHERE seq % 2")
        db.execute("UPDATE contents SET data = x'22ff' WHERE rowid % 3 = 0")
    run = json.loads((points(place)[1] / "summary.json").read_text())["run"]
    for arguments in (("why", "1"), ("why", run), ("diff", "1", run), ("ship",)):
        assert verb(place, *arguments)[0] == 0
    assert verb(place, "replay", run)[0] == 1
