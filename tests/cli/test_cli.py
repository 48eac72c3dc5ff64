"""The command line as a user runs it: output, files, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

QUICK = ("flow=rag_support", "model=extractive", "retriever=bm25", "questions.limit=4")


def flows(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder, as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "llmops_flows", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=110, env=dict(os.environ),
    )  # fmt: skip


def output(folder: Path) -> Path:
    [found] = sorted((folder / "outputs").glob("*/*"))[-1:]
    return found


def test_a_run_prints_a_table_and_writes_its_files(tmp_path: Path) -> None:
    done = flows(tmp_path, *QUICK)
    assert done.returncode == 0, done.stderr
    assert "groundedness" in done.stdout and "4 of 4 answered" in done.stdout
    rows = [json.loads(line) for line in (output(tmp_path) / "results.jsonl").read_text().splitlines()]
    assert len(rows) == 4 and all(row["error"] is None for row in rows)
    summary = json.loads((output(tmp_path) / "summary.json").read_text())
    assert summary["scores"]["answer_relevance"]["n"] == 4
    assert json.loads((output(tmp_path) / "config.json").read_text())["name"] == "rag_support"


def test_a_second_run_computes_nothing(tmp_path: Path) -> None:
    flows(tmp_path, *QUICK)
    flows(tmp_path, *QUICK)
    stages = json.loads((output(tmp_path) / "summary.json").read_text())["stages"]
    assert all(list(counts) == ["known"] for counts in stages.values())


def test_mistakes_end_with_exit_code_2_and_no_traceback(tmp_path: Path) -> None:
    done = flows(tmp_path, "flow=rag_support", "model=smolm2", "retriver.k=3")
    assert done.returncode == 2
    assert "did you mean 'smollm2'?" in done.stderr and "did you mean 'retriever'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_failing_stage_ends_with_exit_code_1_and_stores_the_other_answers(tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"id": "a", "question": "A?"}\n{"id": "b", "question": "B?"}\n')
    answers.write_text('{"question": "A?", "answer": "yes"}\n')
    done = flows(tmp_path, "flow=chat", "model=replay", f"model.path={answers}", f"questions.path={questions}")
    assert done.returncode == 1
    assert "1 of 2 answered" in done.stdout and "has no answer to 'B?'" in done.stdout


def test_when_every_call_fails_scores_are_not_available(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("")
    done = flows(tmp_path, "flow=chat", "model=replay", "model.path=none.jsonl")
    assert done.returncode == 1
    summary = json.loads((output(tmp_path) / "summary.json").read_text())
    assert summary["answered"] == 0
    assert all(found["mean"] is None for found in summary["scores"].values())


def test_a_terminal_without_unicode_shows_what_it_can(tmp_path: Path) -> None:
    plain = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "llmops_flows", "flow=chat", "model=echo", "question=Büro?"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, env=plain,
    )  # fmt: skip
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "B?ro?"), done.stderr
    assert json.loads((output(tmp_path) / "results.jsonl").read_text("utf-8"))["answer"] == "Büro?"


def test_a_question_survives_a_locale_without_unicode(tmp_path: Path) -> None:
    poor = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "llmops_flows", "flow=chat", "model=echo", "question=Büro?"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, env=poor,
    )  # fmt: skip
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "B?ro?"), done.stderr
    assert json.loads((output(tmp_path) / "results.jsonl").read_text("utf-8"))["answer"] == "Büro?"


@pytest.mark.parametrize(("redirected", "code"), [(">&-", 0), ("> /dev/full", 1), ("| true", 0)])
def test_closed_output_causes_no_traceback(tmp_path: Path, redirected: str, code: int) -> None:
    line = f'set -o pipefail; "{sys.executable}" -m llmops_flows check flow=chat model=echo {redirected}'
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert ("cannot be written: No space left on device" in done.stderr) == (code == 1)


@pytest.mark.parametrize("text", ["What's covered, and for whom (Büro?)", "cost: ${oc.env:HOME} {a}=[b]; 'c' | \"d\""])
def test_free_text_just_works(tmp_path: Path, text: str) -> None:
    done = flows(tmp_path, "flow=chat", "model=echo", f"question={text}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == text


def test_check_names_the_stages(tmp_path: Path) -> None:
    done = flows(tmp_path, "check", "flow=rag_support")
    assert done.returncode == 0
    assert "question -> documents" in done.stdout


def test_explain_shows_what_set_a_key_and_what_it_replaced(tmp_path: Path) -> None:
    done = flows(tmp_path, "explain", "retriever.k", "flow=rag_support", "retriever.k=8")
    lines = done.stdout.splitlines()
    assert lines[0] == "retriever.k: 8"
    assert "override retriever.k=8" in lines[1]
    assert "hybrid.yaml:" in lines[2] and "replaced" in lines[2]


def test_hydras_options_work(tmp_path: Path) -> None:
    assert "k: 8" in flows(tmp_path, "flow=rag_support", "retriever.k=8", "--cfg", "job").stdout
    assert "rag_support" in flows(tmp_path, "--help").stdout
    assert flows(tmp_path, "flow=chat", "--info", "defaults").returncode == 0


def test_an_api_key_on_the_command_line_is_refused_and_not_printed(tmp_path: Path) -> None:
    key = "sk-proj-abcdefghijklmnopqrstuvwx"
    done = flows(tmp_path, "flow=chat", f"+model.api_key={key}")
    assert done.returncode == 2
    assert key not in done.stdout + done.stderr
    assert not (tmp_path / "outputs").exists()


def test_a_sweep_over_prompts_and_rerankers(tmp_path: Path) -> None:
    done = flows(tmp_path, "-m", *QUICK, "prompt=glob(rag_support/*)", "reranker=sentences,none")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "multirun").glob("*/*/*/summary.json"))) == 6


def test_an_invalid_point_does_not_end_a_sweep(tmp_path: Path) -> None:
    done = flows(tmp_path, "-m", *QUICK, "retriever.k=0,2")
    assert done.returncode == 2
    assert len(list((tmp_path / "multirun").glob("*/*/*/summary.json"))) == 1


def test_an_unknown_command_has_a_suggestion(tmp_path: Path) -> None:
    done = flows(tmp_path, "chek", "flow=chat")
    assert done.returncode == 2
    assert "did you mean 'check'?" in done.stderr
