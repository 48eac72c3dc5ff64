"""A component in a group whose role it does not have is a problem that names the role."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llmops_flows import ConfigError
from llmops_flows.config.files.paths import data_dir
from llmops_flows.config.load import load_experiment

MODEL, SPLITTER = "model/echo", "splitter/sentences"


def component(option: str) -> str:
    """The class that a shipped option names."""
    found = re.search(r"_target_: (\S+)", (data_dir("conf") / f"{option}.yaml").read_text())
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("group", "option", "problem"),
    [
        ("model", SPLITTER, "must be a model (a stage that writes 'answer'), got {}, which is not a stage"),
        ("retriever", MODEL, "must be a retriever (a stage that writes 'documents'), got {}, which writes 'answer'"),
        ("reranker", MODEL, "must be a reranker (a stage that writes 'context'), got {}, which writes 'answer'"),
        ("prompt", MODEL, "must be a prompt (a stage that writes 'messages'), got {}, which writes 'answer'"),
        ("embedder", SPLITTER, "must be an Embedder, got {}"),
        ("splitter", MODEL, "must be a Splitter, got {}"),
        ("cache", MODEL, "must be a cache policy, got {}"),
        ("store", SPLITTER, "must be a store, got {}"),
        ("evaluator", MODEL, "must be an evaluator (a stage that writes 'scores'), got {}, which writes 'answer'"),
        (
            "guardrail",
            MODEL,
            "must be a guardrail (a stage that writes the slot it reads), got {}, which writes 'answer'",
        ),
        ("tracer", MODEL, "must be a tracer, got {}"),
    ],
)
def test_a_component_without_the_role_of_its_group_is_a_problem(
    group: str, option: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = component(option)
    named = {"evaluator": "x: ", "tracer": "x: ", "guardrail": "output: "}.get(group, "")
    path = tmp_path / "conf" / group / "wrong.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(f"{named}{{_target_: {cls}}}\n")
    monkeypatch.chdir(tmp_path)
    rest = ["stages.input_guard=null", "stages.context_guard=null"] if group == "guardrail" else []
    with pytest.raises(ConfigError) as caught:
        load_experiment("flow=rag_support", "retriever=hybrid", f"{group}=wrong", *rest)
    assert problem.format(cls.rpartition(".")[2]) in str(caught.value)
