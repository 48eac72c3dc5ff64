"""Hydra's own habits keep working: help, config, info, completion, output folders, multirun."""

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


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main([*arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("flag", ["--help", "-h", "help"])
def test_help_lists_commands_flows_groups_and_options(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, flag)
    assert all(command in found for command in command_table.built_in())
    for word in ("rag_support", "retriever", "bm25", "prompt", "chat/v1", "--multirun", "--cfg job"):
        assert word in found


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert "llmops_flows 0." in said(capsys, "--version")


def test_the_config_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "name: chat" in said(capsys, "flow=chat", "--cfg", "job")
    assert "launcher" in said(capsys, "flow=chat", "--cfg", "hydra")
    assert said(capsys, "flow=chat", "tenant=x", "--cfg", "job", "--package", "tenant").strip() == "x"
    assert "${home}" not in said(capsys, "flow=chat", "--cfg", "job", "--resolve", "--package", "store")


def test_flags_may_stand_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert "tenant: x" in said(capsys, "--cfg", "job", "flow=chat", "tenant=x")
    assert "tenant: x" in said(capsys, "flow=chat", "--cfg", "job", "tenant=x")


@pytest.mark.parametrize("what", ["config", "defaults", "defaults-tree", "searchpath", "plugins", "all"])
def test_info_is_told(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(said(capsys, "flow=chat", "--info", what)) > 40


def test_hydras_own_help_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Hydra" in said(capsys, "--hydra-help")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_installs_itself(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "complet" in said(capsys, "-sc", f"install={shell}")


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
    assert words <= set(said(capsys, "-sc", "query=bash").split())


@pytest.mark.parametrize(
    "line", ["llmops-flows flow=caht model.", "llmops-flows a=[ b", "llmops-flows hydra.searchpath=[x] m"]
)
def test_a_line_with_mistakes_completes_without_a_word_of_error(
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
def test_free_text_is_asked_as_it_was_typed(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, *RUN, f"question={text}")
    assert found.startswith(f"{text}\n")
    assert "nothing wrong" in said(capsys, "check", *RUN, f"question={text}")
    assert said(capsys, "explain", "question", *RUN, f"question={text}").startswith(f"question: {text}\n")


@pytest.mark.parametrize("text", TEXTS)
def test_free_text_is_one_point_of_a_sweep(text: str, elsewhere: Path) -> None:
    import json

    assert main(["-m", *RUN, f"question={text}", "tenant=a,b"]) == 0
    rows = [json.loads(p.read_text()) for p in sorted(elsewhere.glob("multirun/*/*/0/results.jsonl"))]
    assert [row["answer"] for row in rows] == [text]
