"""Projects and plugins bring config groups of their own, which work like the shipped ones."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops_flows import ConfigError
from llmops_flows.cli.main import main
from llmops_flows.config.files.groups import groups
from llmops_flows.config.json_schema import flow_schema
from llmops_flows.config.load import load_experiment

PACKAGE = "rewriter_parts"
COMPONENT = """
from llmops_flows import Stage


class Rewriter(Stage):
    writes = "question"
    words: str

    def run(self, question: str) -> str:
        return f"{self.words} {question}"
"""
OPTION = f"_target_: {PACKAGE}.rewriter.Rewriter\nwords: {{}}\n"
FLOW = """# @package _global_
defaults:
{}  - override /model: echo
  - override /prompt: chat/v1
  - _self_

name: mine
stages:
  rewrite: ${{rewriter}}
  prompt: ${{prompt}}
  model: ${{model}}
"""
RUN = ["question=hello", "store=memory", "tracer=none", "evaluator=none"]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_group(conf: Path) -> None:
    """The group `rewriter` with two options; the flow `mine` chooses from it, the flow `bare` does not."""
    for name, words in (("polite", "please"), ("urgent", "now")):
        write(conf / "rewriter" / f"{name}.yaml", OPTION.format(words))
    write(conf / "flow" / "mine.yaml", FLOW.format("  - /rewriter: polite\n"))
    write(conf / "flow" / "bare.yaml", FLOW.format(""))


@pytest.fixture(params=["project", "plugin"])
def trust(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A project or an installed plugin with the group; the override that trusts its components."""
    work, site = tmp_path / "work", tmp_path / "site"
    work.mkdir()
    write(site / PACKAGE / "__init__.py", "")
    write(site / PACKAGE / "rewriter.py", COMPONENT)
    if request.param == "plugin":
        write_group(site / PACKAGE / "conf")
        write(site / "rewriters-1.0.dist-info" / "METADATA", "Metadata-Version: 2.1\nName: rewriters\nVersion: 1.0\n")
        write(site / "rewriters-1.0.dist-info" / "entry_points.txt", f"[llmops_flows]\nrewriters = {PACKAGE}\n")
        write(site / "rewriters-1.0.dist-info" / "RECORD", f"{PACKAGE}/conf/rewriter/polite.yaml,,\n")
    else:
        write_group(work / "conf")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(work)
    yield "trust=[]" if request.param == "plugin" else f"trust=[{PACKAGE}]"
    for name in (PACKAGE, f"{PACKAGE}.rewriter"):
        sys.modules.pop(name, None)


def problems(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_experiment(*overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "answer"),
    [
        (["flow=mine"], "please hello"),
        (["flow=mine", "rewriter=urgent"], "now hello"),
        (["flow=mine", "rewriter.words=quick"], "quick hello"),
        (["flow=bare", "+rewriter=urgent"], "now hello"),
    ],
)
def test_a_flow_runs_the_chosen_option(
    trust: str, overrides: list[str], answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*overrides, trust, *RUN]) == 0
    assert capsys.readouterr().out.splitlines()[0] == answer


@pytest.mark.parametrize("overrides", [["flow=mine", "rewriter=polite,urgent"], ["flow=bare", "+rewriter=glob(*)"]])
def test_a_sweep_varies_it(trust: str, overrides: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["-m", *overrides, trust, "question=hello", "store=memory", "tracer=none", "evaluator=none"]
    assert main(["plan", *arguments]) == 0
    assert "2 points" in capsys.readouterr().out
    assert main(arguments) == 0
    [folder] = Path("multirun").glob("*/*")
    rows = [json.loads((folder / str(n) / "results.jsonl").read_text()) for n in range(2)]
    assert [row["answer"] for row in rows] == ["please hello", "now hello"]


def test_check_explain_help_and_the_schema_know_it(trust: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "flow=mine", "rewriter=urgent", trust]) == 0
    assert "Rewriter" in capsys.readouterr().out
    assert main(["explain", "rewriter.words", "flow=mine", "rewriter=urgent", trust]) == 0
    assert "rewriter/urgent.yaml:2  now" in capsys.readouterr().out
    assert main(["--help"]) == 0
    assert "polite, urgent" in capsys.readouterr().out
    assert "rewriter" in flow_schema(groups())["properties"]
    assert main(["schema", "flow"]) == 0
    assert "rewriter" in json.loads(capsys.readouterr().out)["properties"]


@pytest.mark.parametrize(
    ("overrides", "hint"),
    [
        (["flow=mine", "rewriter=urgnt"], "unknown rewriter 'urgnt'\n    did you mean 'urgent'?"),
        (["flow=mine", "rewriter.wrds=x"], "unknown key 'wrds' in 'rewriter'\n    did you mean 'words'?"),
        (["flow=mine", "+rewritr=urgent"], "unknown key 'rewritr'\n    did you mean 'rewriter'?"),
        (["flow=bare", "rewriter=urgent"], "add it: +rewriter=OPTION"),
        (
            ["flow=bare"],
            "no option of the group 'rewriter' is chosen\n    +rewriter=OPTION; choose from: polite, urgent",
        ),
    ],
)
def test_a_misspelled_name_gets_a_hint(trust: str, overrides: list[str], hint: str) -> None:
    assert hint in problems(*overrides, trust)


def test_an_option_that_nothing_uses_is_reported(trust: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "flow=chat", "model=echo", "+rewriter=polite", trust]) == 0
    assert "+rewriter=polite has no effect: nothing in the flow uses ${rewriter}" in capsys.readouterr().out


def test_a_run_with_an_added_option_is_promoted(trust: str, capsys: pytest.CaptureFixture[str]) -> None:
    if trust != "trust=[]":
        write(Path("conf/flow/bare.yaml"), FLOW.format("").replace("name: mine", f"name: mine\ntrust: [{PACKAGE}]"))
    assert main(["flow=bare", "+rewriter=urgent", "question=hello"]) == 0
    assert main(["promote", "last", "better"]) == 0
    assert "  - /rewriter: urgent\n" in Path("conf/flow/better.yaml").read_text()
    capsys.readouterr()
    assert main(["flow=better", *RUN]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "now hello"


def test_override_in_a_defaults_list_that_chooses_nothing_is_a_problem(trust: str) -> None:
    write(Path("conf/flow/wrong.yaml"), FLOW.format("  - override /rewriter: polite\n"))
    assert "write `- /rewriter: OPTION`, without `override`" in problems("flow=wrong", trust)
