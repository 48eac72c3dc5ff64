"""Every model option builds, says what it lacks before anything runs, and takes a fallback from the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from llmops_flows import ConfigError
from llmops_flows.config.files.paths import data_dir
from llmops_flows.config.load import load_experiment
from llmops_flows.core.roles import Model
from llmops_flows.core.stage import Part

OPTIONS = sorted(p.stem for p in (data_dir("conf") / "model").glob("*.yaml"))
KEY = "sk-proj-0123456789abcdefghijklmn"
NEEDS = {
    "llamacpp": ["model.path={gguf}"],
    "replay": ["model.path={rows}"],
    "openai_compatible": ["model.base_url=http://127.0.0.1:8080/v1"],
    "langchain": ["model.name=gpt-4.1-mini"],
}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, KEY)


def overrides(option: str, folder: Path) -> list[str]:
    gguf, rows = folder / "model.gguf", folder / "rows.jsonl"
    gguf.write_bytes(b"GGUF and nothing more")
    rows.write_text('{"question": "q", "answer": "a"}\n')
    return [f"model={option}", *(text.format(gguf=gguf, rows=rows) for text in NEEDS.get(option, ()))]


def model(*given: str) -> Model:
    found = load_experiment("flow=chat", *given).flow.stages["model"]
    assert isinstance(found, Model)
    return found


def problems(*given: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_experiment("flow=chat", *given)
    return str(caught.value)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_builds_and_has_an_identity(option: str, tmp_path: Path) -> None:
    found = load_experiment("flow=rag_support", *overrides(option, tmp_path)).flow.stages["model"]
    assert isinstance(found, Part)
    assert len(found.identity) == 64


@pytest.mark.parametrize("option", sorted(set(OPTIONS) - {"echo", "replay", "extractive"}))
def test_an_option_lists_the_fields_that_one_may_override(option: str, tmp_path: Path) -> None:
    listed = set(yaml.safe_load((data_dir("conf") / "model" / f"{option}.yaml").read_text())) - {"_target_"}
    fields = set(type(model(*overrides(option, tmp_path))).model_fields)
    assert fields - listed <= ({"name", "path"} if option == "smollm2" else set())


def test_building_them_imports_no_framework(tmp_path: Path) -> None:
    given = [overrides(option, tmp_path) for option in OPTIONS if option not in ("extractive", "replay")]
    program = (
        f"import sys\nfrom llmops_flows.config.load import load_experiment\n"
        f"[load_experiment('flow=chat', *given).flow.identity for given in {given!r}]\n"
        "heavy = {'langchain_core', 'openai', 'anthropic', 'httpx', 'numpy', 'xllamacpp', 'langchain_openai'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(("option", "variable"), [("openai", "OPENAI_API_KEY"), ("anthropic", "ANTHROPIC_API_KEY")])
def test_a_missing_key_is_a_problem_that_names_the_variable(
    option: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable)
    assert f"export {variable}=" in problems(f"model={option}")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["model=openai", f"model.api_key_env={KEY}"], "name of an environment variable"),
        (["model=openai", "model.name=gpt-99"], "prices.input"),
        (["model=openai", "model.temperature=0.5"], "does not accept a temperature"),
        (["model=openai", "model.stop=[x]"], "does not accept stop strings"),
        (["model=openai", "model.reasoning_effort=hard"], "model.reasoning_effort"),
        (["model=openai", "model.base_url=api.example.com"], "http://"),
        (
            ["model=openai", "model.base_url=https://me:secretpassword@api.example.com/v1"],
            "not contain a user or password",
        ),
        (["model=openai", "model.prices.inputs=1"], "inputs"),
        (["model=anthropic", "model.temperature=1.5"], "0 to 1"),
        (["model=anthropic", "model.name=claude-opus-5", "model.temperature=0.5"], "does not accept a temperature"),
        (["model=openai_compatible"], "model.base_url"),
        (["model=openai_compatible", "model.base_url=http://h/v1", "model.api_key_env=NOT_SET_HERE"], "NOT_SET_HERE"),
        (["model=langchain", "model.name=x", "model.target=os.system"], "langchain"),
        (["model=langchain", "model.name=x", "model.target=langchain_nowhere.Chat"], "not installed"),
        (["model=llamacpp", "model.path=/nowhere/model.gguf"], "/nowhere/model.gguf"),
        (["model=smollm2", "model.threads=0"], "model.threads"),
    ],
)
def test_what_cannot_work_is_told_before_it_is_tried(given: list[str], words: str) -> None:
    told = problems(*given)
    assert words in told
    assert KEY not in told
    assert "secretpassword" not in told


def test_a_key_that_no_header_can_carry_is_told_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-01234567\u201989abcdefghijk")
    told = problems("model=openai")
    assert "OPENAI_API_KEY contains" in told
    assert "01234567" not in told


def test_a_file_that_is_no_model_is_told_before_it_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_text("not a model")
    assert "not a GGUF file" in problems("model=llamacpp", f"model.path={tmp_path / 'model.gguf'}")


def test_prices_come_from_the_list_by_name_and_may_be_overridden_one_by_one() -> None:
    assert (model("model=openai").prices.input, model("model=openai").prices.output) == (0.25, 2)
    assert model("model=openai", "model.name=gpt-4.1").prices.cached_input == 0.5
    assert model("model=openai", "model.name=gpt-5-mini-2025-08-07").prices.output == 2
    mixed = model("model=openai", "model.prices.output=9").prices
    assert (mixed.input, mixed.output) == (0.25, 9)
    assert model("model=openai", "model.name=gpt-99", "model.prices={input: 1, output: 2}").prices.output == 2


def test_prices_keys_and_limits_decide_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    one, other = (
        model("model=openai"),
        model("model=openai", "model.prices.input=3", "model.api_key_env=MY_KEY", "model.limits.timeout=5"),
    )
    assert one.identity == other.identity
    assert one.identity != model("model=openai", "model.reasoning_effort=low").identity
    assert KEY not in str(one.fingerprint(include_operational=True))
    assert KEY not in repr(one)


def test_a_fallback_is_named_on_the_command_line() -> None:
    found = model("model=openai", "+model@model.fallback=anthropic", "+model@model.fallback.fallback=smollm2")
    second = found.fallback
    assert second is not None and second.name == "claude-haiku-4-5"
    assert second.fallback is not None and second.fallback.name == "smollm2"


def test_a_fallbacks_own_fields_are_overridden_like_any() -> None:
    found = model("model=openai", "+model@model.fallback=smollm2", "model.fallback.max_tokens=7")
    assert found.fallback is not None and found.fallback.max_tokens == 7


def test_a_fallback_can_stand_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "conf" / "model"
    folder.mkdir(parents=True)
    (folder / "careful.yaml").write_text("defaults:\n  - openai\n  - smollm2@fallback\n\nmax_tokens: 99\n")
    monkeypatch.chdir(tmp_path)
    found = model("model=careful")
    assert (found.name, found.max_tokens) == ("gpt-5-mini", 99)
    assert found.fallback is not None and found.fallback.name == "smollm2"


def test_a_fallback_is_no_part_of_the_identity() -> None:
    assert model("model=openai").identity == model("model=openai", "+model@model.fallback=smollm2").identity


def test_problems_of_a_fallback_are_told_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    told = problems("model=openai", "+model@model.fallback=anthropic")
    assert "model.fallback" in told and "ANTHROPIC_API_KEY" in told
