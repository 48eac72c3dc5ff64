"""The commands that read finished runs: why, replay, promote and diff."""

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

Run = Callable[..., tuple[int, str, str]]
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
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run a command in a folder, in this process: exit code, standard output and error."""

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


def test_why_names_the_changed_key_at_its_stage(swept: Path, command: Run) -> None:
    _, *later = points(swept)
    changed = next(point for point in later if options(point)["prompt"] != options(points(swept)[0])["prompt"])
    code, out, _ = command(swept, "why", changed.name, "prompt")
    assert code == 0 and re.search(r"^prompt +\d computed: 'messages' changed \(before: run \w{8}\)$", out, re.M)
    assert "+" in out and "rows " in out


def test_why_shows_a_repeated_run_as_known(place: Path, command: Run) -> None:
    flows(place, "flow=rag_support", "model=extractive", "retriever=bm25", "questions.limit=4")
    code, out, _ = command(place, "why", "last")
    assert code == 0 and "computed" not in out and re.search(r"^retrieve +4 known$", out, re.M)


def test_why_prints_json(swept: Path, command: Run) -> None:
    data = json.loads(command(swept, "why", "0", "--json")[1])
    stages = {stage["stage"]: stage for stage in data["stages"]}
    assert stages["retrieve"]["groups"][0]["causes"][0]["kind"] == "first" and len(data["run"]) == 32


def test_why_takes_a_folder_a_number_or_an_id(swept: Path, command: Run) -> None:
    point = points(swept)[1]
    run = json.loads((point / "summary.json").read_text())["run"]
    outputs = {command(swept, "why", word)[1] for word in (str(point), point.name, run, run[:8])}
    assert len(outputs) == 1


def test_why_and_replay_take_the_run_id_of_an_answer(place: Path, command: Run) -> None:
    program = "from llmops_flows import load_flow; print(load_flow('chat', 'model=echo').invoke('hello')['run_id'])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=place, capture_output=True, text=True, timeout=60,
        env={**os.environ, "LLMOPS_FLOWS_HOME": str(place / "home")},
    )  # fmt: skip
    answer = done.stdout.strip()
    assert "chat, run" in command(place, "why", answer)[1]
    code, out, _ = command(place, "replay", answer.replace("-", ""))
    assert code == 0 and "hello" in out and "1 of 1 row" in out


@pytest.mark.parametrize(
    ("arguments", "problem"),
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
        (("promote", "0", "a/b"), "invalid flow name"),
        (("promote", "bets", "better"), "unknown run 'bets'"),
        (("promote", "0", "x", "--froce"), "did you mean '--force'?"),
    ],
)
def test_a_mistake_is_reported_with_a_hint(swept: Path, command: Run, arguments: tuple[str, ...], problem: str) -> None:
    code, out, err = command(swept, *arguments)
    assert code in (1, 2) and problem in err and not out and "Traceback" not in err


# -- replay ----------------------------------------------------------------------------------------------------------


def test_a_sweep_is_replayed_from_its_traces_alone(swept: Path, command: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in (swept / "home").rglob("*.sqlite")}
    code, out, _ = command(swept, "replay", str(points(swept)[0].parent))
    assert code == 0 and out.count("4 of 4 rows from the traces alone, byte for byte") == 4
    assert {path: path.stat().st_mtime_ns for path in (swept / "home").rglob("*.sqlite")} == before


def test_replay_prints_the_answers_or_json(swept: Path, command: Run) -> None:
    lines = [json.loads(line) for line in (points(swept)[2] / "results.jsonl").read_text().splitlines()]
    code, out, _ = command(swept, "replay", "2")
    assert code == 0 and all(line["id"] in out for line in lines)
    [data] = json.loads(command(swept, "replay", "2", "--json")[1])
    assert [row["answer"] for row in data["rows"]] == [line["answer"] for line in lines]
    assert data["config"] == json.loads((points(swept)[2] / "config.json").read_text())


def test_replay_loads_no_framework_and_no_component(swept: Path) -> None:
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


def test_an_edited_result_ends_with_exit_code_1(place: Path, command: Run) -> None:
    path = points(place)[1] / "results.jsonl"
    path.write_text(path.read_text().replace('"ended": null', '"ended": "model"', 1))
    code, out, _ = command(place, "replay", "1")
    assert code == 1 and "3 of 4 rows" in out and "results.jsonl has another 'ended'" in out


def test_missing_traces_end_with_exit_code_1(place: Path, command: Run) -> None:
    (place / "home" / "traces.sqlite").unlink()
    code, out, _ = command(place, "replay", "0")
    assert code == 1 and "its trace is not stored" in out


def test_the_traces_of_a_run_with_another_home_are_read(place: Path, command: Run) -> None:
    flows(place, "flow=chat", "model=echo", f"home={place}/other", "questions.limit=2")
    [folder] = (place / "outputs").glob("*/*")
    assert command(place, "replay", str(folder))[0] == 0
    assert "the first run of this stage" in command(place, "why", str(folder))[1]


def test_a_point_without_results_does_not_stop_the_others(place: Path, command: Run) -> None:
    (points(place)[2] / "results.jsonl").unlink()
    code, out, err = command(place, "replay", str(points(place)[0].parent))
    assert code == 1 and out.count("4 of 4 rows") == 3 and "point 2: results.jsonl not found" in err


def test_a_path_in_the_config_of_a_foreign_folder_is_never_written(place: Path, command: Run) -> None:
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
        assert command(place, "replay", path.name)[1].count("4 of 4 rows") == 1  # from where runs keep theirs
    assert other.read_bytes() == before and note.read_text() == "mine" and not (place / "nothing.sqlite").exists()


# -- promote ---------------------------------------------------------------------------------------------------------


def test_the_promoted_best_point_reuses_all_answers(place: Path, command: Run) -> None:
    best = json.loads(command(place, "board", "--json")[1])["points"][0]
    code, out, _ = command(place, "promote", "best", "winner")
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


def test_a_run_is_promoted_from_its_traces(place: Path, command: Run) -> None:
    run = json.loads((points(place)[3] / "summary.json").read_text())["run"]
    shutil.rmtree(place / "multirun")
    assert command(place, "promote", run[:10], "kept")[0] == 0
    code, _, err = command(place, "promote", run[:10], "kept")
    assert code == 2 and "already exists" in err
    assert command(place, "promote", run[:10], "kept", "--force")[0] == 0
    assert "no problems found" in command(place, "check", "flow=kept")[1]


def test_the_best_point_of_a_search_is_its_best_trial(place: Path, command: Run) -> None:
    last = json.loads(command(place, "board", "--json")[1])["points"][-1]
    (points(place)[0].parent / "optimization_results.json").write_text(json.dumps({"best": [int(last["name"])]}))
    assert command(place, "promote", "best", "cheapest")[0] == 0
    assert last["run"][:12] in (place / "conf" / "flow" / "cheapest.yaml").read_text()


# -- diff ------------------------------------------------------------------------------------------------------------


def test_the_diff_of_a_run_with_itself_is_empty(swept: Path, command: Run) -> None:
    for point in points(swept):
        data = json.loads(command(swept, "diff", point.name, str(point), "--json")[1])
        sections = {key: value for key, value in data.items() if key not in ("first", "second", "rows", "identical")}
        assert data["identical"] is True and data["rows"] == 4 and not any(sections.values())
        assert {"config", "texts", "answers", "scores", "figures", "judged", "diverged_at"} <= set(sections)


def test_damaged_traces_do_not_stop_a_command(place: Path, command: Run) -> None:
    with closing(sqlite3.connect(place / "home" / "traces.sqlite")) as db, db:
        db.execute("UPDATE traces SET data = substr(data, 1, 50) WHERE seq % 2")
        db.execute("UPDATE contents SET data = x'22ff' WHERE rowid % 3 = 0")
    run = json.loads((points(place)[1] / "summary.json").read_text())["run"]
    for arguments in (("why", "1"), ("why", run), ("diff", "1", run), ("ship",)):
        assert command(place, *arguments)[0] == 0
    assert command(place, "replay", run)[0] == 1
