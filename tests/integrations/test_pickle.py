"""A loaded flow travels to other processes: as its config, with nothing that is alive and no secret in it."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from operator import itemgetter
from pathlib import Path

import pytest
from langchain_core.runnables import RunnableConfig, RunnableLambda

from llmops_flows import ConfigError, Flow, Runner, load_flow
from llmops_flows.components.model.echo import Echo
from llmops_flows.integrations.langchain.runnable import FlowRunnable

QUICK = ("model=extractive", "retriever=bm25", "retriever.k=4")
QUESTION = "What does Northwind Standard cover for emergency care?"
CANARY = "sk-proj-canary0123456789abcdefghij"
READ = """
import pickle, sys
flow = pickle.load(sys.stdin.buffer)
found = flow.invoke(sys.argv[1])
print(found["answer"], len(found["documents"]), sep="\\n")
"""


def answer(found: dict[str, str]) -> str:
    return found["answer"]


def test_another_process_answers_the_same_and_knows_what_is_known(tmp_path: Path) -> None:
    flow = load_flow("rag_support", *QUICK)
    found = flow.invoke(QUESTION)
    done = subprocess.run(
        [sys.executable, "-c", READ, QUESTION],
        input=pickle.dumps(flow),
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
    )
    assert done.stdout.decode().splitlines() == [found["answer"], str(len(found["documents"]))], done.stderr.decode()


def test_a_copy_has_the_overrides_and_the_name() -> None:
    flow = load_flow("rag_support", *QUICK)
    flow.name = "benefits"
    for other in (pickle.loads(pickle.dumps(flow)), copy.deepcopy(flow), copy.copy(flow)):
        assert other.name == "benefits" and other.flow.identity == flow.flow.identity
        assert len(other.invoke(QUESTION)["documents"]) == 4
    assert copy.deepcopy(flow).runner is flow.runner
    assert pickle.loads(pickle.dumps(flow)).runner is not flow.runner


def test_a_chain_with_a_flow_in_it_is_pickled_too() -> None:
    flow = load_flow("rag_support", *QUICK)
    chain = {"question": itemgetter("text")} | flow.with_config(RunnableConfig(tags=["x"])) | RunnableLambda(answer)
    assert pickle.loads(pickle.dumps(chain)).invoke({"text": QUESTION}) == flow.invoke(QUESTION)["answer"]
    assert copy.deepcopy(chain).invoke({"text": QUESTION}) == flow.invoke(QUESTION)["answer"]


def test_a_key_of_the_environment_is_not_in_a_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    data = pickle.dumps(load_flow("chat", "model=openai", "guardrail=none"))
    assert CANARY.encode() not in data and b"OPENAI_API_KEY" in data
    assert pickle.loads(data).flow.parts["model"].api_key_env == "OPENAI_API_KEY"


def test_where_things_are_kept_is_the_reader_s_own_affair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pickle.dumps(load_flow("chat", "model=echo", "guardrail=none"))
    monkeypatch.setenv("LLMOPS_FLOWS_HOME", str(tmp_path / "elsewhere"))
    assert pickle.loads(data).runner.context.home == tmp_path / "elsewhere"


def test_a_key_in_clear_is_refused() -> None:
    flow = load_flow("chat", "model=echo", "guardrail=none", f"tags=[{CANARY}]")
    with pytest.raises(ConfigError, match="a config with a secret cannot be pickled") as raised:
        pickle.dumps(flow)
    assert CANARY not in str(raised.value)


def test_a_flow_that_was_made_by_hand_says_what_to_do() -> None:
    with Runner() as runner, pytest.raises(TypeError, match="load_flow returns one that can"):
        pickle.dumps(FlowRunnable(Flow(stages={"model": Echo()}), runner))
