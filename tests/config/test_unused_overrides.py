"""Overrides of parts that nothing takes are told, and only those."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from llmops_flows.cli.main import main
from llmops_flows.config.compose import compose
from llmops_flows.config.composition.unused_overrides import unused_override_warnings


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["flow=chat", "retriever=bm25"], ["retriever=bm25"]),
        (["flow=chat", "retriever.k=3", "model=echo", "guardrail=strict"], ["retriever.k=3"]),
        (["flow=rag_support", "retriever=bm25", "embedder=minilm", "splitter=pages"], ["embedder=minilm"]),
        (["flow=rag_support", "retriever=hybrid", "embedder=minilm", "prompt=rag_support/v1"], []),
        (["flow=rag_support", "reranker=none", "samples=2", "question=${retriever}"], []),
    ],
)
def test_parts_that_nothing_takes_are_told(overrides: list[str], told: list[str]) -> None:
    assert [sentence.partition(" ")[0] for sentence in unused_override_warnings(compose(overrides))] == told


def test_check_and_a_run_say_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    told = "retriever=bm25 has no effect: nothing in the flow uses ${retriever}"
    chat = ["flow=chat", "model=echo", "retriever=bm25"]
    assert main(["check", *chat]) == 0
    assert told in capsys.readouterr().out
    with caplog.at_level(logging.WARNING, "llmops_flows"):
        assert main([*chat, "question=hi", "store=memory", "tracer=none"]) == 0
    assert told in caplog.text + "".join(capsys.readouterr())
