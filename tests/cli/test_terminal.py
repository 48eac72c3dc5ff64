"""Long lines are wrapped on a terminal, and left alone in a pipe."""

from __future__ import annotations

import io

import pytest

from llmops_flows.cli.terminal import wrap


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")


def test_a_continued_line_is_indented_like_its_text() -> None:
    hint = "    choose from: echo, openai, replay, smollm2"
    text = f"  - unknown model\n{hint}\nmodel   2 computed: new 'context' from 'rerank'"
    assert wrap(text, Terminal()).splitlines() == [
        "  - unknown model",
        "    choose from: echo, openai,",
        "      replay, smollm2",
        "model   2 computed: new",
        "        'context' from",
        "        'rerank'",
    ]


def test_words_are_not_broken() -> None:
    path = "/a/path/without/spaces/that-is-longer/than/the/terminal"
    assert path in wrap(f"cannot read {path}", Terminal()).split()


def test_a_pipe_gets_the_text_unchanged() -> None:
    text = "one line that is longer than thirty columns"
    assert wrap(text, io.StringIO()) == text
