"""A change of one line of config, code or data recomputes exactly the stages that depend on it."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops_flows import Record
from llmops_flows.artifacts.resources import release_all
from llmops_flows.config.load import load_experiment, open_runner
from llmops_flows.config.questions import records
from llmops_flows.core import fingerprint
from llmops_flows.testing.embedders import WordVectors
from llmops_flows.testing.fakes import logged_calls

COMPONENT = '''
"""A stage of the user's own."""

from pathlib import Path
from typing import Annotated

from llmops_flows import OPERATIONAL, Stage
from llmops_flows.testing.fakes import append_line


class Polish(Stage):
    writes = "answer"
    log: Annotated[Path, OPERATIONAL]
    end: str = "."

    def run(self, answer: str) -> str:
        append_line(self.log, answer)
        return answer + self.end
'''
FLOW = """
# @package _global_
defaults:
  - override /prompt: shop/v1
  - override /retriever: shop
  - override /model: counted
  - override /guardrail: none
  - override /cache: exact
  - override /tracer: none
  - override /evaluator: none
name: shop
documents: documents
questions: {path: questions.jsonl, limit: null}
trust: [custom_polish]
stages:
  retrieve: ${retriever}
  rerank: ${reranker}
  prompt: ${prompt}
  model: ${model}
  polish: {_target_: custom_polish.Polish, log: polish.log, end: "."}
"""
RETRIEVER = """
_target_: llmops_flows.components.retriever.langchain.LangChainRetriever
k: 1
documents: ${documents}
splitter: ${splitter}
embedder: {_target_: llmops_flows.testing.embedders.WordVectors, dimensions: 64}
target: langchain_core.vectorstores.InMemoryVectorStore
params: {}
"""
PROMPT = """
_target_: llmops_flows.components.prompt.chat.ChatPrompt
messages:
  - {role: system, content: "Answer shortly."}
  - {role: user, content: "{context} {question}"}
"""
MODEL = """
_target_: llmops_flows.testing.fakes.CountedModel
name: counted
log: model.log
pause: 0.0
fails: false
prices: {input: 0.0, output: 0.0}
limits: {timeout: 60.0}
"""
STAGES = ("retrieve", "rerank", "prompt", "model", "polish")


class Project:
    """A user's project in a separate folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in {
            "conf/flow/shop.yaml": FLOW,
            "conf/prompt/shop/v1.yaml": PROMPT,
            "conf/model/counted.yaml": MODEL,
            "conf/retriever/shop.yaml": RETRIEVER,
            "custom_polish.py": COMPONENT,
            "documents/refunds.md": "# Refunds\nA refund takes five days.\n",
            "documents/shipping.md": "# Shipping\nWe ship parcels on Mondays.\n",
            "documents/.notes": "not a document",
        }.items():
            self.write(name, text)
        rows = [
            {"id": "r", "question": "How long does a refund take?"},
            {"id": "s", "question": "When are parcels shipped?"},
        ]
        self.write("questions.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip("\n"), encoding="utf-8")

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text(encoding="utf-8")
        assert old in text
        self.write(name, text.replace(old, new))

    def run(self, *overrides: str) -> dict[str, list[Record]]:
        """Run the project as a new process would, and return the records by question id."""
        sys.modules.pop("custom_polish", None)
        importlib.invalidate_caches()
        fingerprint._library.cache_clear()
        release_all()
        experiment = load_experiment("flow=shop", *overrides)
        batch = records(experiment.settings.questions.rows())
        with open_runner(experiment) as (runner, flow):
            runner.run(flow, batch)
        assert [record.error for record in batch] == [None] * len(batch)
        return {record.id: [record] for record in batch}

    def ran(self, *overrides: str) -> dict[str, list[str]]:
        """Question id to the stages that computed."""
        return {
            name: [span.stage for span in record.spans if span.state != "known"]
            for name, [record] in self.run(*overrides).items()
        }


NOTHING: dict[str, list[str]] = {"r": [], "s": []}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    folder = tmp_path / "shop"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    project = Project(folder)
    first = project.ran()
    assert first == {"r": list(STAGES), "s": list(STAGES)}
    WordVectors.batches.clear()
    yield project
    sys.modules.pop("custom_polish", None)


def test_a_second_run_does_nothing(project: Project) -> None:
    assert project.ran() == NOTHING
    assert len(logged_calls(project.folder / "model.log")) == len(logged_calls(project.folder / "polish.log")) == 2
    assert WordVectors.batches == []


def test_one_line_of_a_prompt_file(project: Project) -> None:
    project.edit("conf/prompt/shop/v1.yaml", "Answer shortly.", "Answer at length.")
    # The fake model reads only the last message: its answer, and what depends on it, stays the same.
    assert project.ran() == {name: ["prompt", "model"] for name in "rs"}
    project.edit("conf/prompt/shop/v1.yaml", "{context} {question}", "{context} Q: {question}")
    assert project.ran() == {name: ["prompt", "model", "polish"] for name in "rs"}


def test_one_line_of_a_custom_component(project: Project) -> None:
    project.edit("custom_polish.py", "answer + self.end", "answer.strip() + self.end")
    assert project.ran() == {"r": ["polish"], "s": ["polish"]}


def test_one_line_of_a_document(project: Project) -> None:
    project.edit("documents/refunds.md", "five days", "six days")
    ran = project.ran()
    assert ran["s"] == ["retrieve"]  # it runs again, and finds the same passage
    assert ran["r"] == list(STAGES)
    assert [len(batch) for batch in WordVectors.batches] == [1]  # only the changed chunk is embedded


def test_a_new_document(project: Project) -> None:
    project.write("documents/hours.md", "# Opening hours\nThe shop opens at nine.\n")
    assert project.ran() == {"r": ["retrieve"], "s": ["retrieve"]}
    embedded = [text for batch in WordVectors.batches for text in batch]
    assert len(embedded) == 1 and "opens at nine" in embedded[0]


def test_one_question(project: Project) -> None:
    project.edit("questions.jsonl", "How long does a refund take?", "How long does the refund take?")
    ran = project.ran()
    assert ran["s"] == []
    assert ran["r"][0] == "retrieve" and {"prompt", "model", "polish"} <= set(ran["r"])


def test_a_field_of_the_config(project: Project) -> None:
    assert project.ran("stages.polish.end=x") == {"r": ["polish"], "s": ["polish"]}
    assert project.ran("model.name=other") == {"r": ["model"], "s": ["model"]}
    assert project.ran() == NOTHING  # the first answers are still stored


@pytest.mark.parametrize(
    "override",
    [
        "model.prices.input=3.5",
        "model.limits.timeout=5",
        "model.pause=0.001",
        "tags=[a]",
        "name=another",
        "questions.seed=7",
    ],
)
def test_operational_settings_recompute_nothing(project: Project, override: str) -> None:
    assert project.ran(override) == NOTHING


def test_moving_the_project_recomputes_nothing(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "another place"
    shutil.move(project.folder, elsewhere)
    monkeypatch.chdir(elsewhere)
    monkeypatch.syspath_prepend(str(elsewhere))
    project.folder = elsewhere
    assert project.ran() == NOTHING


def test_hidden_files_and_comments_recompute_nothing(project: Project) -> None:
    project.write("documents/.notes", "changed")
    project.edit("conf/flow/shop.yaml", "name: shop\n", "# a remark\nname: shop\n")
    assert project.ran() == NOTHING


def test_the_id_of_a_question_recomputes_nothing(project: Project) -> None:
    project.edit("questions.jsonl", '"id": "r"', '"id": "z"')
    assert project.ran() == {"z": [], "s": []}
