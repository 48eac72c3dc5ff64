"""`explain` names the file and line, or the override, that set a value, and what it replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_flows.cli.main import main
from llmops_flows.config.files.paths import data_dir

FLOW = "flow=rag_support"


def explained(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["explain", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def line_of(file: str, text: str) -> int:
    lines = (data_dir("conf") / file).read_text().splitlines()
    return next(n for n, line in enumerate(lines, 1) if line.strip().startswith(text))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_value_of_the_defaults_list_comes_from_its_option_file(capsys: pytest.CaptureFixture[str]) -> None:
    lines = explained(capsys, "model.max_tokens", FLOW)
    assert f"model/smollm2.yaml:{line_of('model/smollm2.yaml', 'max_tokens')}" in lines[1]


def test_a_value_of_the_flow_replaced_the_root_config(capsys: pytest.CaptureFixture[str]) -> None:
    lines = explained(capsys, "questions.limit", FLOW)
    assert f"flow/rag_support.yaml:{line_of('flow/rag_support.yaml', 'limit')}" in lines[1] and "flow=" in lines[1]
    assert "replaced" in lines[2] and f"llmops_flows.yaml:{line_of('llmops_flows.yaml', 'limit')}" in lines[2]


def test_an_interpolation_is_followed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = "\n".join(explained(capsys, "retriever.documents", FLOW, "retriever=bm25"))
    assert "bm25.yaml:" in lines and "${documents}" in lines
    assert "refers to documents" in lines
    assert f"rag_support.yaml:{line_of('flow/rag_support.yaml', 'documents')}" in lines


def test_a_key_behind_an_interpolation_is_found_where_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    lines = "\n".join(explained(capsys, "stages.retrieve.k", FLOW, "retriever=bm25"))
    assert "defined at retriever.k" in lines
    assert "file chosen by retriever=bm25" in lines


def test_overrides_replace_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    lines = explained(capsys, "retriever.k", FLOW, "retriever.k=7", "retriever.k=8")
    assert lines[0] == "retriever.k: 8"
    assert [("k=8" in lines[1]), ("k=7" in lines[2]), ("hybrid.yaml:" in lines[3])] == [True] * 3


@pytest.mark.parametrize(
    ("key", "override", "value"),
    [
        ("retriever.k", "++retriever.k=9", "9"),
        ("questions.limit", "questions={limit: 3}", "3"),
        ("model.stop.1", "model.stop=[a,b]", "b"),
        ("model.seed", "model={seed: 5}", "5"),
    ],
)
def test_every_form_of_an_override_is_named(
    key: str, override: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = explained(capsys, key, FLOW, override)
    assert lines[0] == f"{key}: {value}"
    assert override in lines[1]


def test_a_deleted_key_is_shown_as_removed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = explained(capsys, "retriever.constant", FLOW, "~retriever.constant")
    assert "not in the config" in lines[0] and "removed" in lines[1] and "hybrid.yaml:" in lines[2]


def test_an_item_of_a_list_has_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    lines = explained(capsys, "prompt.messages.0.content", "flow=chat")
    assert f"chat/v1.yaml:{line_of('prompt/chat/v1.yaml', 'content')}" in lines[1]


def test_a_nested_option_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    lines = explained(capsys, "retriever.retrievers.words.k1", FLOW)
    assert "retriever/bm25.yaml:" in lines[1]


def test_a_group_of_keys_is_shown_as_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    assert "seed: 0" in explained(capsys, "questions", FLOW)


def test_free_text_is_shown_as_it_was_typed(capsys: pytest.CaptureFixture[str]) -> None:
    text = "What's ${covered}, and for whom (Büro?)"
    lines = explained(capsys, "question", "flow=chat", f"question={text}")
    assert lines[0] == f"question: {text}" and lines[1].endswith(text)


def test_a_project_file_is_named_before_the_shipped_one(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = elsewhere / "conf" / "model" / "echo.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("_target_: llmops_flows.components.model.echo.Echo\n")
    assert "set by    conf/model/echo.yaml:1" in explained(capsys, "model._target_", "flow=chat", "model=echo")[1]
    assert main(["check", "flow=chat", "model=echo"]) == 0
    assert capsys.readouterr().out.count("conf/model/echo.yaml") == 1


def test_a_misspelt_key_names_those_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "retriever.kk", FLOW]) == 2
    assert "did you mean 'retriever.k'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "required: KEY"),
        ([FLOW], "explain takes one key, got 0"),
        (["retriever.k", "constant", FLOW], "explain takes one key, got 2"),
    ],
)
def test_explain_takes_one_key(words: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *words]) == 2
    assert problem in capsys.readouterr().err
