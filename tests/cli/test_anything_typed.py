"""Whatever is typed and whatever bytes a project's files hold: a config, or an error of ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops_flows import ConfigError
from llmops_flows.config.load import load_experiment

FUZZ = settings(
    max_examples=12, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(data: bytes) -> None:
    place = Path("conf/debug/x.yaml")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)


WORDS = st.sampled_from(
    ["flow", "model", "retriever", "k", "null", "chat", "echo", "hydra", "stages", "choice", "glob", "???", "${",
     "++", *"=.,[]{}+~@:'\"\\/(* \né"]
)  # fmt: skip


@given(st.lists(WORDS, min_size=1, max_size=7).map("".join).filter(lambda t: not t.startswith("-")))
@FUZZ
def test_any_override_gives_a_config_or_an_error_of_ours(text: str) -> None:
    try:
        load_experiment("flow=chat", "model=echo", text)
    except ConfigError as error:
        assert error.problems and all(problem.what for problem in error.problems)


KEYS = st.sampled_from(["_target_", "defaults", "hydra", "k", "model", "stages", "questions", "a.b", "1"])
PLAIN = st.none() | st.booleans() | st.integers() | st.sampled_from(["x", "???", "${model}", "${x}", "${", ""])
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)
PACKAGES = st.sampled_from(["", "# @package _global_\n", "# @package a b\n", "# @package x.y\n", "# @\n"])


@given(data=VALUES, package=PACKAGES)
@FUZZ
def test_any_file_of_a_project_gives_a_config_or_an_error_of_ours(data: object, package: str) -> None:
    write((package + json.dumps(data)).encode())
    try:
        load_experiment("flow=chat", "model=echo", "+debug=x")
    except ConfigError as error:
        assert error.problems


@given(st.binary(max_size=60))
@FUZZ
def test_any_bytes_in_a_file_give_a_config_or_an_error_of_ours(data: bytes) -> None:
    write(data)
    try:
        load_experiment("flow=chat", "model=echo", "+debug=x")
    except ConfigError as error:
        assert error.problems
