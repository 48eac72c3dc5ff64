"""Hydra's options work: help, config, info, completion, output folders, multirun."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_flows.cli import command_table
from llmops_flows.cli.main import main

RUN = ("flow=chat", "model=echo", "guardrail=none", "store=memory", "tracer=none")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main([*arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("flag", ["--help", "-h", "help"])
def test_help_lists_commands_flows_groups_and_options(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    help_text = output(capsys, flag)
    assert all(command in help_text for command in command_table.built_in())
    for word in ("rag_support", "retriever", "bm25", "prompt", "chat/v1", "--multirun", "--cfg job"):
        assert word in help_text


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "llmops_flows 0." in output(capsys, "--version")


def test_the_config_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "name: chat" in output(capsys, "flow=chat", "--cfg", "job")
    assert "launcher" in output(capsys, "flow=chat", "--cfg", "hydra")
    assert output(capsys, "flow=chat", "tenant=x", "--cfg", "job", "--package", "tenant").strip() == "x"
    assert "${home}" not in output(capsys, "flow=chat", "--cfg", "job", "--resolve", "--package", "store")


def test_options_may_stand_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert "tenant: x" in output(capsys, "--cfg", "job", "flow=chat", "tenant=x")
    assert "tenant: x" in output(capsys, "flow=chat", "--cfg", "job", "tenant=x")


@pytest.mark.parametrize("what", ["config", "defaults", "defaults-tree", "searchpath", "plugins", "all"])
def test_info_is_printed(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(output(capsys, "flow=chat", "--info", what)) > 40


def test_hydras_own_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Hydra" in output(capsys, "--hydra-help")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_its_install_line(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "complet" in output(capsys, "-sc", f"install={shell}")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("llmops-flows flow=", {"flow=chat", "flow=rag_support"}),
        ("llmops-flows flow=chat retr", {"retriever="}),
        ("llmops-flows flow=chat retriever=bm", {"retriever=bm25"}),
        ("llmops-flows flow=chat model.te", {"model.temperature="}),
        ("llmops-flows check flow=", {"flow=chat", "flow=rag_support"}),
        ("llmops-flows explain flow=chat model.te", {"model.temperature="}),
    ],
)
def test_a_line_is_completed(
    line: str, words: set[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    assert words <= set(output(capsys, "-sc", "query=bash").split())


@pytest.mark.parametrize(
    "line", ["llmops-flows flow=caht model.", "llmops-flows a=[ b", "llmops-flows hydra.searchpath=[x] m"]
)
def test_a_line_with_mistakes_has_no_completion_and_no_error(
    line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    assert main(["-sc", "query=bash"]) == 0
    assert capsys.readouterr().err == ""


TEXTS = [
    "What's covered, for whom (Büro?)", "${oc.env:HOME}", "a\nb", "-x", '"q"', "it's \\", "\\", "choice(a,b)", "a,b",
    "glob(*)", "{a: [b]}", "a=b", "NULL", " ", "'", "\\'", "\\${x}", "日本語", "~", "+a=1",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_free_text_needs_no_quoting(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = output(capsys, *RUN, f"question={text}")
    assert answer.startswith(f"{text}\n")
    assert "no problems found" in output(capsys, "check", *RUN, f"question={text}")
    assert output(capsys, "explain", "question", *RUN, f"question={text}").startswith(f"question: {text}\n")


@pytest.mark.parametrize("text", TEXTS)
def test_free_text_is_one_point_of_a_sweep(text: str, elsewhere: Path) -> None:
    import json

    assert main(["-m", *RUN, f"question={text}", "tenant=a,b"]) == 0
    rows = [json.loads(p.read_text()) for p in sorted(elsewhere.glob("multirun/*/*/0/results.jsonl"))]
    assert [row["answer"] for row in rows] == [text]
