"""`board` and `diff` after a sweep."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llmops_flows.cli.main import main
from tests.support.browser import show


@dataclass(frozen=True)
class Swept:
    """A folder in which a sweep of the demo flow was run, with a home of its own."""

    folder: Path
    home: Path

    def run(self, *arguments: str, width: int = 120) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "LLMOPS_FLOWS_HOME": str(self.home), "COLUMNS": str(width)}
        return subprocess.run(
            [sys.executable, "-m", "llmops_flows", *arguments],
            cwd=self.folder, capture_output=True, text=True, timeout=110, env=env,
        )  # fmt: skip

    def points(self) -> list[Path]:
        return sorted(path.parent for path in self.folder.glob("multirun/*/*/*/results.jsonl"))


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    found = Swept(tmp_path_factory.mktemp("sweep"), tmp_path_factory.mktemp("home"))
    axes = ("retriever.k=1,5", "prompt=rag_support/v1,rag_support/v2")
    done = found.run("-m", "flow=rag_support", "model=extractive", "retriever=bm25", *axes, "questions.limit=8")
    assert done.returncode == 0, done.stderr
    return found


def data(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_board_shows_the_last_sweep_with_its_config_differences(swept: Swept) -> None:
    done = swept.run("board")
    assert done.returncode == 0, done.stderr
    head, _, *lines = done.stdout.splitlines()
    assert head == "rag_support: 4 points x 8 questions, sorted by answer_correctness"
    assert {"prompt", "retriever.k"} <= set(lines[0].split()) and "baseline" in done.stdout
    assert "best: " in done.stdout and max(map(len, done.stdout.splitlines())) <= 120


def test_board_sorts_by_a_metric_and_compares_with_a_baseline(swept: Swept) -> None:
    found = data(swept.run("board", "--json", "--sort", "hit", "--baseline=3"))
    means = [variant["scores"]["hit"]["mean"] for variant in found["points"]]
    assert means == sorted(means, reverse=True) and (found["metric"], found["baseline"]) == ("hit", "3")
    for variant in found["points"]:
        point = next(path for path in swept.points() if path.name == variant["name"])
        summary = json.loads((point / "summary.json").read_text())
        assert variant["scores"]["hit"]["mean"] == pytest.approx(summary["scores"]["hit"]["mean"])
        assert variant["run"] == summary["run"]


def test_a_known_answer_has_the_latency_of_its_computation(swept: Swept) -> None:
    by_name = {variant["name"]: variant for variant in data(swept.run("board", "--json"))["points"]}
    assert by_name["1"]["known"] > by_name["0"]["known"]
    assert by_name["1"]["latency_p50"] > 0


def test_csv_has_a_line_for_every_point(swept: Swept) -> None:
    lines = list(csv.DictReader(swept.run("board", "--csv").stdout.splitlines()))
    assert sorted(line["name"] for line in lines) == ["0", "1", "2", "3"]
    assert {line["retriever.k"] for line in lines} == {"1", "5"} and {line["prompt"] for line in lines} == {
        "v1",
        "v2",
    }


def test_the_report_is_written_beside_the_points_and_opens(swept: Swept) -> None:
    done = swept.run("board", "--report")
    written = swept.folder / done.stdout.splitlines()[-1]
    assert written == swept.points()[0].parent / "report.html"
    shown = show(written)
    assert shown.errors == () and "4 points, 8 questions each" in re.sub(r"<[^>]*>", "", shown.html)


def test_diff_names_the_key_and_the_first_stage_that_differs(swept: Swept) -> None:
    found = data(swept.run("diff", "0", "1", "--json"))
    [key] = found["config"]
    assert key in ("prompt", "retriever.k")
    assert next(iter(found["stages"])) == {"prompt": "prompt", "retriever.k": "retrieve"}[key]


def test_diff_shows_the_text_of_a_prompt_line_by_line(swept: Swept) -> None:
    names = {p.name: json.loads((p / "summary.json").read_text())["choices"]["prompt"] for p in swept.points()}
    other = next(name for name in names if names[name] != names["0"])
    done = swept.run("diff", "0", other)
    assert "text of prompt.messages" in done.stdout and "\n  +" in done.stdout


def test_diff_takes_a_folder_a_number_or_an_id(swept: Swept) -> None:
    point = swept.points()[2]
    run = json.loads((point / "summary.json").read_text())["run"]
    for word in (str(point), point.name, run, run[:8]):
        assert data(swept.run("diff", word, run[:10], "--json"))["identical"] is True


def test_the_diff_of_a_point_with_itself_is_empty(swept: Swept) -> None:
    done = swept.run("diff", "2", "2")
    assert (done.returncode, done.stdout) == (0, "2 and 2 do not differ: same config, answers and scores\n")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["board", "--sort", "hti"], "did you mean 'hit'"),
        (["board", "--baseline", "9"], "point '9' not found; points with results: 0, 1, 2, 3"),
        (["board", "--rebort"], "did you mean '--report'"),
        (["board", "--sort"], "argument --sort: expected one argument"),
        (["board", "a", "b"], "unexpected argument 'b'"),
        (["board", "elsewhere"], "no finished point of a sweep in 'elsewhere'"),
        (["diff", "0"], "required: B"),
        (["diff", "0", "77"], "point 77 not found"),
        (["diff", "0", "no-such-run"], "unknown run 'no-such-run'"),
    ],
)
def test_a_mistake_is_reported_with_a_hint(
    swept: Swept, words: list[str], problem: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(swept.folder)
    monkeypatch.setenv("LLMOPS_FLOWS_HOME", str(swept.home))
    assert main(words) in (1, 2)
    assert problem in capsys.readouterr().err


def test_board_without_a_sweep_says_how_to_run_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["board"]) == 1
    assert "run one first: python -m llmops_flows -m" in capsys.readouterr().err
