"""A run made an option of its own: the file is small, belongs to no machine, and does exactly what the run did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from llmops_flows.config.compose import compose
from llmops_flows.config.experiment import Experiment, build_experiment
from llmops_flows.config.load import load_experiment
from llmops_flows.config.promotion.promote import Promotion, promote
from llmops_flows.core.errors import ConfigError
from llmops_flows.core.redaction import MASK, redact_value

LIMIT = {"questions": {"limit": 3}}
SET = {"questions": {"seed": 7}, "samples": 3, "documents": "docs"}
MESSAGES = '[{role: user, content: "{context} 1e3: {question}"}]'
BASE = ("flow=rag_support", "model=extractive", "retriever=bm25")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's project, in which the test works."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ran(*overrides: str) -> Experiment:
    """What a run of these overrides was."""
    return build_experiment(compose(overrides))


def promoted(run: Experiment, name: str = "winner", **options: Any) -> Promotion:
    done = promote(name, redact_value(run.config), run.choices, **options)
    done.write()
    return done


def said(done: Promotion) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(done.text)
    return {key: value for key, value in found.items() if key not in ("defaults", "name")}


def identities(run: Experiment) -> dict[str, str]:
    return {name: stage.identity for name, stage in (*run.flow.leaves(), *run.evaluators.items())}


@pytest.mark.parametrize(
    ("overrides", "values"),
    [
        ((), {}),
        (("prompt=rag_support/v1", "reranker=none", "evaluator=none", "cache=normalized"), {}),
        (("retriever.k=3", "splitter.size=300"), {"retriever": {"k": 3}, "splitter": {"size": 300}}),
        (("retriever=hybrid", "retriever.retrievers.words.k=9"), {"retriever": {"retrievers": {"words": {"k": 9}}}}),
        (("questions.seed=7", "samples=3", "documents=docs"), SET),
        (("guardrail=strict", "guardrail.context=null"), {"guardrail": {"context": None}}),
        (("~stages.context_guard",), {"stages": {"context_guard": None}}),
        (("+model@model.fallback=echo", "+stages.again=${prompt}", f"prompt.messages={MESSAGES}"), None),
        (("model=replay", "+debug=fast"), {"model": {"path": "${flow_data:rag_support,answers.jsonl}"}, **LIMIT}),
    ],
)
def test_the_flow_does_what_the_run_did_and_says_only_what_differs(
    overrides: tuple[str, ...], values: dict[str, Any] | None, project: Path
) -> None:
    (project / "docs").mkdir()
    (project / "docs" / "page.md").write_text("# A page\nSay something.")
    run = ran(*BASE, *overrides)
    done = promoted(run)
    again = load_experiment("flow=winner")
    assert identities(again) == identities(run) and not done.changed
    assert again.settings.questions == run.settings.questions and again.settings.samples == run.settings.samples
    assert again.cache.identity == run.cache.identity and again.settings.name == "winner"
    assert values is None or said(done) == values


def test_what_belongs_to_a_run_is_left_out_and_told() -> None:
    done = promoted(ran(*BASE, "tenant=acme", "tags=[a]", "question=Why?", "cache.refresh=true", "home=elsewhere"))
    assert said(done) == {} and done.left == {"question": "Why?", "tenant": "acme"}
    assert load_experiment("flow=winner").cache.refresh is False


def test_a_run_that_kept_nothing_is_promoted_to_a_flow_that_does() -> None:
    promoted(ran(*BASE, "cache=none", "tracer=none", "store=memory"))
    again = load_experiment("flow=winner")
    assert again.cache.enabled and again.choices["store"] == "sqlite" and "local" in again.tracers


def test_a_removed_key_is_made_null_and_told() -> None:
    done = promoted(ran(*BASE, "~guardrail.output.validators.pii"))
    assert done.null == ("guardrail.output.validators.pii",)
    assert said(done) == {"guardrail": {"output": {"validators": {"pii": None}}}}


def test_paths_of_the_project_become_relative(project: Path) -> None:
    (project / "docs").mkdir()
    (project / "docs" / "page.md").write_text("A page.")
    done = promoted(ran(*BASE, f"documents={project}/docs"))
    assert said(done) == {"documents": "docs"} and str(project) not in done.text


def test_what_lies_outside_the_project_is_refused(tmp_path_factory: pytest.TempPathFactory, project: Path) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "page.md").write_text("A page.")
    with pytest.raises(ConfigError, match="outside the project") as caught:
        promoted(ran(*BASE, f"documents={outside}"))
    assert caught.value.problems[0].key == "documents" and not (project / "conf").exists()


def test_a_secret_is_never_written(project: Path) -> None:
    run = ran(*BASE)
    run.config["guardrail"]["output"]["refusal"] = f"say {MASK}"
    with pytest.raises(ConfigError, match="secret"):
        promoted(run)
    with pytest.raises(ConfigError, match="secret"):
        promoted(ran(*BASE), comments=["from http://me:hunter2hunter2@host/"])
    assert not (project / "conf").exists()


def test_trust_is_never_taken_over() -> None:
    run = ran(*BASE)
    run.config["trust"] = ["distutils"]
    with pytest.raises(ConfigError, match="trusted the package 'distutils'"):
        promoted(run)


def test_what_is_no_option_never_reaches_the_file(project: Path) -> None:
    """Choices and comments are read from a folder that anybody may have made."""
    run = ran(*BASE)
    done = promoted(run, comments=["fine\ntrust: [distutils]"])
    assert "trust" not in yaml.safe_load(done.text) and done.text.splitlines()[1] == "# fine trust: [distutils]"
    run.choices["model"] = "echo\ntrust: [distutils]"
    with pytest.raises(ConfigError, match="unknown model"):
        promoted(run, "other")


def test_an_option_that_is_gone_is_told_with_the_nearest_one() -> None:
    run = ran(*BASE)
    run.choices["prompt"] = "rag_support/v0"
    with pytest.raises(ConfigError, match="did you mean 'rag_support/v1'"):
        promoted(run)


def test_a_flow_that_is_gone_is_told_with_the_nearest_one() -> None:
    run = ran(*BASE)
    run.choices["flow"] = "rag_suport"
    with pytest.raises(ConfigError, match="did you mean 'rag_support'"):
        promoted(run)


@pytest.mark.parametrize("name", ["", "a/b", "../up", "a.yaml", ".hidden", "two words", "a=b", "ü", "a" * 101])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="invalid flow name"):
        promote(name, {}, {"flow": "rag_support"})


@pytest.mark.parametrize(("name", "told"), [("rag_support", "extend itself"), ("chat", "would hide")])
def test_a_name_that_is_taken_is_refused_also_with_force(name: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        promote(name, {}, {"flow": "rag_support"}, force=True)


def test_a_file_is_overwritten_only_by_force(project: Path) -> None:
    promoted(ran(*BASE))
    with pytest.raises(ConfigError, match="already exists"):
        promoted(ran(*BASE, "retriever.k=3"))
    assert said(promoted(ran(*BASE, "retriever.k=3"), force=True)) == {"retriever": {"k": 3}}
    assert [path.name for path in (project / "conf" / "flow").iterdir()] == ["winner.yaml"]


def test_a_promoted_flow_is_promoted_again() -> None:
    promoted(ran(*BASE, "retriever.k=3"))
    run = ran("flow=winner", "reranker=none")
    promoted(run, "better")
    assert identities(load_experiment("flow=better")) == identities(run)


SHOUT = """
from llmops_flows import Model


class Shout(Model):
    name: str = "shout"
    mark: str = "!"

    def run(self, messages):
        return messages[-1]["content"].upper() + self.mark
"""


def test_an_option_and_a_component_of_ones_own_are_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(project))
    (project / "promoted_shop.py").write_text(SHOUT)
    (project / "conf" / "model").mkdir(parents=True)
    (project / "conf" / "model" / "shout.yaml").write_text("_target_: promoted_shop.Shout\nmark: '!'\n")
    (project / "conf" / "flow").mkdir()
    flow = "# @package _global_\ndefaults: [rag_support, _self_]\ntrust: [promoted_shop]\n"
    (project / "conf" / "flow" / "shop.yaml").write_text(flow)
    run = ran("flow=shop", "retriever=bm25", "model=shout", "model.mark='?'")
    done = promoted(run)
    assert done.options["model shout"] == "project" and done.own == ("promoted_shop.Shout",)
    assert said(done) == {"model": {"mark": "?"}} and identities(load_experiment("flow=winner")) == identities(run)


def test_a_component_put_in_the_place_of_another_is_refused_with_the_way_round() -> None:
    run = ran(*BASE, "stages.model={_target_: llmops_flows.components.model.echo.Echo}")
    with pytest.raises(ConfigError, match="make it an option of that group") as caught:
        promoted(run)
    assert caught.value.problems[0].key == "stages.model"


def test_a_stage_that_is_not_what_it_was_is_told() -> None:
    run = ran(*BASE)
    done = promoted(run, identities={**identities(run), "retrieve": "0" * 64})
    assert done.changed == ("retrieve",)
