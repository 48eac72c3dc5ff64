"""A config cannot run code: hostile targets and Hydra keys, through files, overrides, plugins and data."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmops_flows import ConfigError, load_flow
from llmops_flows.cli.main import main
from llmops_flows.config.files import plugins
from llmops_flows.config.load import load_experiment

EFFECT = "effect.txt"
EVIL = f"""
import pathlib

pathlib.Path({EFFECT!r}).touch()


class Thing:
    pass


def call(*arguments, **options):
    pass
"""
RUN = ("flow=chat", "model=echo", "question=hi", "store=memory")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project folder with an importable module that leaves a mark when anything imports it."""
    (tmp_path / "evil.py").write_text(EVIL)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not (tmp_path / EFFECT).exists(), "code of a config ran"
    assert "evil" not in sys.modules


def write(place: Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is told when the command line refuses."""
    assert main([*arguments]) == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    return told


TARGETS = [
    "evil.Thing",
    "evil.call",
    "os.system",
    "builtins.exec",
    "builtins.open",
    "subprocess.Popen",
    "shutil.rmtree",
    "pathlib.Path.touch",
    "joblib.load",
    "pickle.loads",
    "runpy.run_path",
    "importlib.import_module",
    "hydra.utils.call",
    "hydra.utils.instantiate",
    "jinja2.Template",
    "distutils.spawn.spawn",
    "multiprocessing.Process",
    "pytest.main",
    "ctypes.CDLL",
    "code.interact",
    "llmops_flows.calls.event_loop.threading.Thread",
    "llmops_flows.config.files.paths.os.system",
    "llmops_flows.artifacts.lazy_import.load",
    "llmops_flows.engine.runner.Runner",
    "llmops_flows.core.roles.Retriever",
    "llmops_flows.cli.main.script",
    "llmops_flows.config.load.load_flow",
    "evil",
    "",
    ".evil.Thing",
    "llmops_flows..evil",
    "llmops_flows.testing.evil",
    "langchain_experimental.utilities.PythonREPL",
    "langchain_core.runnables.RunnableLambda",
]


@pytest.mark.parametrize("target", TARGETS)
def test_a_hostile_target_in_an_override_names_what_is_allowed(target: str, work: Path) -> None:
    with pytest.raises(ConfigError, match=r"llmops_flows|choose from|defined there|no module"):
        load_experiment("flow=chat", f"model._target_='{target}'")


def test_every_hostile_target_in_one_file_is_told(work: Path) -> None:
    stages = {f"s{n}": {"_target_": target, "_args_": ["touch " + EFFECT]} for n, target in enumerate(TARGETS)}
    write(work / "conf" / "flow" / "evil.yaml", "# @package _global_\n" + json.dumps({"name": "x", "stages": stages}))
    with pytest.raises(ConfigError) as caught:
        load_experiment("flow=evil")
    for number in range(len(TARGETS)):
        assert f"stages.s{number}." in str(caught.value)


NESTED = [
    "+model.json_schema._target_=evil.Thing",
    "+model.json_schema.x.y._target_=evil.call",
    "model.stop=[{_target_:evil.call}]",
    "model.fallback={_target_:evil.Thing}",
    "tenant={_target_:evil.call}",
    "+evaluator.x={_target_:evil.call}",
    "+tracer.x={_target_:evil.call}",
    "cache={_target_:evil.call}",
    "store._target_=evil.call",
    "+cache._partial_=true",
    "model._target_=${oc.decode:evil.Thing}",
]


@pytest.mark.parametrize("override", NESTED)
def test_a_nested_target_runs_nothing(override: str, work: Path) -> None:
    with pytest.raises(ConfigError):
        load_experiment("flow=chat", override)


WRAPPED = [
    ("embedder=langchain", "embedder.target=evil.Thing"),
    ("embedder=langchain", "embedder.target=langchain_evil.Thing"),
    ("embedder=langchain", "+embedder.params.x={_target_:evil.call}"),
    ("retriever=langchain", "retriever.target=os.system"),
    ("splitter=langchain", "splitter.target=evil.Thing"),
    ("splitter=recursive", "splitter.target=evil.Thing"),
    ("retriever=llama_index", "retriever.target=evil.Thing"),
    ("model=langchain", "model.target=evil.Thing"),
    ("model=langchain", "model.target=builtins.exec"),
]


@pytest.mark.parametrize(("option", "override"), WRAPPED)
def test_a_wrapped_class_of_no_known_library_is_refused_unimported(option: str, override: str, work: Path) -> None:
    with pytest.raises(ConfigError):
        load_experiment("flow=rag_support", "retriever=chroma", option, override)


HYDRA = [
    "+hydra.callbacks.x._target_=evil.Thing",
    "++hydra.callbacks={x:{_target_:evil.Thing}}",
    "hydra.searchpath=[pkg://evil]",
    "+hydra.searchpath=[pkg://evil]",
    "hydra.launcher._target_=evil.Thing",
    "hydra/launcher._target_=evil.Thing",
    "hydra.sweeper._target_=evil.Thing",
    "+hydra.launcher.x._target_=evil.call",
    "+hydra.sweeper.params.x._target_=evil.call",
    "hydra.job_logging.handlers.console.class=evil.Thing",
    "+hydra.job_logging.handlers.x={class:logging.StreamHandler,stream:'ext://evil.Thing'}",
    "+hydra.job_logging.handlers.x={'()':evil.call}",
    "+hydra.job_logging.formatters.simple.()=evil.call",
    "hydra.job_logging.handlers.console.stream=ext://evil.Thing",
    "hydra.job_logging.handlers.console.stream=${tenant} tenant=ext://evil.Thing",
    "hydra.job_logging.handlers.file.filename=${hydra.job.name} hydra.job.name=ext://evil.Thing",
    "hydra.hydra_logging.handlers.console.class=evil.Thing",
    "hydra.hydra_logging.handlers.console.stream=ext://evil.Thing",
    "+hydra.job.env_set.PYTHONSTARTUP=evil.py",
    "hydra.runtime.output_dir=ext://evil.Thing",
    "model@hydra.callbacks.x=echo",
    "+model@hydra.launcher=echo",
    "hydra={callbacks:{x:{_target_:evil.Thing}}}",
    "~hydra.run",
]


@pytest.mark.parametrize("overrides", HYDRA)
@pytest.mark.parametrize("mode", ["run", "sweep"])
def test_a_hydra_key_that_could_run_code_is_refused(
    overrides: str, mode: str, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["-m"] if mode == "sweep" else []
    told = refused(capsys, *flags, *RUN, *overrides.split(" "))
    assert "hydra" in told


FLAGS = [
    ["--config-path=."],
    ["-cp", "pkg://evil"],
    ["--config-name=evil"],
    ["--experimental-rerun", "config.pickle"],
]


@pytest.mark.parametrize("flags", FLAGS)
def test_a_flag_that_leads_elsewhere_is_refused(
    flags: list[str], work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is not supported" in refused(capsys, *RUN, *flags)


FILES = [
    "hydra: {callbacks: {x: {_target_: evil.Thing}}}",
    "hydra: {searchpath: ['pkg://evil']}",
    "hydra: {launcher: {_target_: evil.Thing}}",
    "hydra: {job_logging: {handlers: {console: {class: evil.Thing}}}}",
    "hydra: {job_logging: {formatters: {simple: {(): evil.call}}}}",
    "hydra: {hydra_logging: {handlers: {console: {stream: 'ext://evil.Thing'}}}}",
    "hydra: {job: {env_set: {PATH: /evil}}}",
    "defaults: [{/model@hydra.callbacks.x: evil}]",
    "defaults: [{override /hydra/callbacks: evil}]",
    "tenant: !!python/object/apply:evil.call []",
    "tenant: !!python/name:evil.call ''",
    "tenant: !!python/module:evil ''",
    "tenant: !!python/object/new:evil.Thing {}",
]


@pytest.mark.parametrize("text", FILES)
def test_a_file_of_the_project_runs_no_code(text: str, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(work / "conf" / "model" / "evil.yaml", "_target_: evil.Thing\n")
    write(work / "conf" / "debug" / "x.yaml", f"# @package _global_\n{text}\n")
    refused(capsys, *RUN, "+debug=x")
    refused(capsys, "-m", *RUN, "+debug=x", "samples=1,2")


def test_a_header_cannot_put_a_file_into_hydra(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(work / "conf" / "debug" / "x.yaml", "# @package hydra.callbacks.x\n_target_: evil.Thing\n")
    assert "x.yaml:1" in refused(capsys, *RUN, "+debug=x")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completing_a_hostile_line_runs_nothing(shell: str, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for line in (
        "hydra.searchpath=[pkg://evil] mod",
        "+hydra.callbacks.x._target_=evil.Thing model.",
        "model=../x m",
    ):
        monkeypatch.setenv("COMP_LINE", f"llmops-flows {line}")
        assert main(["-sc", f"query={shell}"]) == 0


def test_an_option_outside_the_folder_is_not_reached(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(work / "outside.yaml", "_target_: llmops_flows.components.model.echo.Echo\n")
    refused(capsys, "flow=chat", "question=hi", "model=../../outside")
    refused(capsys, "flow=chat", "question=hi", f"model={work}/outside")


PLUGIN = [
    "hydra: {run: {dir: /tmp/elsewhere}}",
    "hydra: {callbacks: {x: {_target_: evil.Thing}}}",
    "defaults: [{override /hydra/job_logging: none}]",
    "defaults: [{/model@hydra.launcher: echo}]",
]


def plugin(folder: Path, package: str = "evil") -> None:
    """A distribution in a folder of sys.path, whose entry point names a package that must not be imported."""
    info = folder / f"{package}_plugin-1.0.dist-info"
    write(info / "METADATA", f"Metadata-Version: 2.1\nName: {package}-plugin\nVersion: 1.0\n")
    write(info / "entry_points.txt", f"[llmops_flows]\n{package} = {package}.sub:thing\n")
    plugins._plugins.cache_clear()


@pytest.mark.parametrize("text", PLUGIN)
def test_a_plugin_does_not_touch_hydra(text: str, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "evil.py").unlink()
    write(work / "evil" / "__init__.py", EVIL)
    write(work / "evil" / "conf" / "debug" / "x.yaml", f"# @package _global_\n{text}\n")
    write(work / "evil" / "conf" / "hydra" / "launcher" / "x.yaml", "_target_: evil.Thing\n")
    plugin(work)
    assert "x.yaml" in refused(capsys, *RUN, "+debug=x")
    refused(capsys, "-m", *RUN, "hydra/launcher=x")


@pytest.mark.parametrize(
    "text", ["${oc.env:PATH}", "${oc.create:{_target_:evil.Thing}}", "${tenant}", "!!python/name:evil"]
)
def test_questions_and_rows_are_text(text: str, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(work / "rows.jsonl", json.dumps({"id": "a", "question": text, "_target_": "evil.Thing"}) + "\n")
    assert main(["flow=chat", "model=echo", "guardrail=none", "store=memory", "questions.path=rows.jsonl"]) == 0
    assert text[:25] in capsys.readouterr().out
    assert main(["flow=chat", "model=echo", "guardrail=none", "store=memory", f"question={text}"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == text


def test_only_the_command_line_sets_hydra_keys(work: Path) -> None:
    with pytest.raises(ConfigError, match="only the command line"):
        load_flow("chat", "model=echo", "hydra.run.dir=/tmp/elsewhere")


@pytest.mark.parametrize("given", [["model=echo"], 3, None])
def test_what_is_no_text_is_no_override(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"flow and overrides must be strings, got .*\n.*load_flow\("):
        load_flow("chat", given)


def test_the_owner_may_say_where_output_goes(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "hydra.run.dir=here", "hydra.job.name=mine", "hydra/job_logging=none"]) == 0
    assert (work / "here" / "summary.json").is_file()
