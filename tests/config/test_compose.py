"""Configs compose like Hydra's, from threads and inside other Hydra apps, and faults are told all at once."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_flows import ConfigError
from llmops_flows.config.compose import compose
from llmops_flows.config.composition.interpolation import resolve_leniently
from llmops_flows.config.composition.override_parser import expand_globs
from llmops_flows.config.composition.quoting import quote
from llmops_flows.config.files.paths import data_dir
from llmops_flows.config.load import load_experiment

FLOWS = sorted(p.stem for p in (data_dir("conf") / "flow").glob("*.yaml"))


def problems(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_experiment(*overrides)
    return str(caught.value)


@pytest.mark.parametrize("flow", FLOWS)
def test_every_flow_builds(flow: str) -> None:
    assert load_experiment(f"flow={flow}").flow.name == flow


def test_all_mistakes_are_told_at_once_with_the_nearest_name() -> None:
    told = problems("flow=rag_support", "model=smolm2", "retriver.k=3")
    assert "2 errors" in told
    assert "did you mean 'smollm2'?" in told
    assert "did you mean 'retriever'?" in told
    assert "+retriver" not in told


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("flow=rag_suport", "did you mean 'rag_support'?"),
        ("retriever.kk=3", "did you mean 'k'?"),
        ("+retriever.kk=3", "did you mean 'k'?"),
        ("retriever.k=abc", "retriever.k"),
        ("retriever.k=0", "greater than 0"),
        ("+foo=1", "unknown key 'foo'"),
        ("model._target_=os.system", "not in a trusted package"),
        ("documents=/nowhere/at/all", "file or folder not found"),
        ("reranker=null", "reranker=none"),
        ("model=llamacpp", "model.path"),
        ("questions.limit=0", "questions.limit"),
        ("model.temperature=9", "model.temperature"),
        ("prompt=rag_support/v9", "rag_support/v1"),
    ],
)
def test_a_mistake_says_what_where_and_how_to_mend(override: str, words: str) -> None:
    assert words in problems("flow=rag_support", override)


def test_without_a_flow_the_flows_are_listed() -> None:
    assert "choose from: chat, rag_support" in problems()


def test_a_slot_that_nobody_writes_is_found_before_anything_runs() -> None:
    assert "'context'" in problems("flow=rag_support", "stages.rerank=null")


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.open",
        "joblib.load",
        "distutils.spawn.spawn",
        "multiprocessing.Process",
        "pytest.main",
        "subprocess.Popen",
        "llmops_flows.config.files.paths.Path",
        "llmops_flows.calls.event_loop.threading.Thread",
        "llmops_flows.components.model.llamacpp.os.system",
        "llmops_flows.engine.runner.ThreadPoolExecutor",
        "llmops_flows.engine.runner.Runner",
        "llmops_flows.components.retriever.bm25.Retriever",
        "llmops_flows.core.roles.BaseModel",
        "llmops_flows",
        "",
        "..os.system",
        "hydra.utils.instantiate",
        "jinja2.Template",
        "pickle.loads",
    ],
)
def test_a_hostile_target_is_refused(target: str) -> None:
    assert "model._target_" in problems("flow=chat", f"model._target_='{target}'")


def test_a_target_outside_is_not_even_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_module.py").write_text("import pathlib\npathlib.Path('effect').touch()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    problems("flow=chat", "model._target_=evil_module.Thing")
    assert "evil_module" not in sys.modules


def test_an_interpolation_that_leads_nowhere_is_a_problem() -> None:
    assert "nowhere" in problems("flow=chat", "name=${nowhere}")


def test_an_interpolation_in_a_circle_is_a_problem() -> None:
    assert "refers to itself" in problems("flow=chat", "name=${tenant}", "tenant=${name}")


@pytest.mark.parametrize(
    "overrides",
    [
        ["flow=rag_support"],
        ["flow=chat", "model=echo", "tags=[a,b]", "+model.answer=x", "~splitter"],
        ["flow=rag_support", "retriever=bm25", "tracer=[local,langsmith]", "+debug=fast", "name=${flow_data:a,b}"],
        [],
    ],
)
def test_a_config_is_the_same_whether_hydras_own_part_is_composed_or_not(overrides: list[str]) -> None:
    without, whole = compose(overrides), compose([*overrides, "hydra.job.name=x"], owner=True)
    assert list(without.raw.items()) == list(whole.raw.items())
    assert without.choices == whole.choices
    assert without.resolvable == whole.resolvable == resolve_leniently(whole.config)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hydra: {rn: {dir: x}}", "did you mean 'run'?"),
        ("hydra: {run: {dri: x}}", "did you mean 'dir'?"),
        ("hydra: {run: 3}", "flow/mine"),
        ("hydra: {launcher: {_target_: evil.Thing}}", "evil.Thing"),
        ("defaults: [{override /hydra/launcher: ryy}]", "ryy"),
    ],
)
def test_what_a_project_sets_of_hydra_is_checked_by_whoever_composes(
    text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = tmp_path / "conf" / "flow" / "mine.yaml"
    flow.parent.mkdir(parents=True)
    flow.write_text(f"# @package _global_\nname: mine\nstages: {{model: '${{model}}'}}\ninputs: [messages]\n{text}\n")
    monkeypatch.chdir(tmp_path)
    assert told in problems("flow=mine", "model=echo")
    flow.write_text(flow.read_text().replace(text, "hydra: {run: {dir: elsewhere}}"))
    assert load_experiment("flow=mine", "model=echo").flow.name == "mine"


def test_many_threads_compose_at_once() -> None:
    seen, broken = [], []

    def work(n: int) -> None:
        try:
            seen.append(compose([f"retriever.k={n}", "flow=rag_support"]).plain["retriever"]["k"])
        except Exception as error:
            broken.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 9)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not broken
    assert sorted(seen) == list(range(1, 9))


def test_a_flow_loads_inside_another_hydra_app(tmp_path: Path) -> None:
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    (tmp_path / "app.yaml").write_text("a: 1\n")
    with initialize_config_dir(str(tmp_path), version_base=None):
        assert load_experiment("flow=chat", "model=echo").flow.name == "chat"
        assert GlobalHydra.instance().is_initialized()


def test_a_projects_own_configs_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "conf" / "prompt" / "rag_support"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text(
        "_target_: llmops_flows.components.prompt.chat.ChatPrompt\n"
        "messages:\n  - {role: user, content: 'Mine: {question}'}\n"
    )
    monkeypatch.chdir(tmp_path)
    prompt = load_experiment("flow=rag_support", "prompt=rag_support/mine").flow.stages["prompt"]
    assert "Mine" in str(prompt)


def test_glob_reaches_options_in_folders() -> None:
    [found] = expand_globs(["prompt=glob(rag_support/*)"])
    assert found.startswith("prompt=rag_support/v1,rag_support/v2")


@given(st.text(min_size=1).filter(lambda t: t != "null" and "\0" not in t))
@settings(max_examples=150, deadline=None)
def test_free_text_stays_the_text_that_was_typed(text: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    value = OverridesParser.create().parse_override(f"question={quote(text)}").value()
    from omegaconf import OmegaConf

    assert OmegaConf.create({"q": value}).q == text


def test_building_every_flow_imports_no_framework() -> None:
    import subprocess

    program = (
        "import sys\nfrom llmops_flows.config.load import load_experiment\n"
        "[load_experiment(f'flow={name}') for name in ('chat', 'rag_support')]\n"
        "heavy = {'langchain_core', 'chromadb', 'numpy', 'xllamacpp', 'guardrails', 'trulens', 'langsmith'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_config_of_an_app_around_us_is_not_mistaken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf" / "db").mkdir(parents=True)
    (tmp_path / "conf" / "config.yaml").write_text("defaults: [{db: mysql}]\nport: 1\n")
    (tmp_path / "conf" / "db" / "mysql.yaml").write_text("name: mysql\n")
    monkeypatch.chdir(tmp_path)
    assert load_experiment("flow=chat", "model=echo").flow.name == "chat"
