"""What LlamaIndex does inside a stage stands under that stage in the trace of the application around."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers.schemas import Run

from llmops_flows import Call, Flow, Runner, Stage
from llmops_flows.components.retriever.llama_index import LlamaIndexRetriever
from llmops_flows.integrations.langchain.runnable import FlowRunnable
from llmops_flows.integrations.llama_index.tracing import nested_spans
from llmops_flows.testing.embedders import WordVectors
from tests.integrations.test_runnable import Tree, names
from tests.support.stub_stages import Say, Write


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("apples and pears")
    return tmp_path


def traced(flow: Flow, *questions: str) -> list[Run]:
    """The runs of the flow, inside an application that is traced by LangChain."""
    tree = Tree()
    with Runner() as runner:
        chain = RunnableLambda(lambda text: {"question": text}) | FlowRunnable(flow, runner)
        chain.batch(list(questions), config={"callbacks": [tree]})
    return [next(run for run in root.child_runs if run.name == flow.name) for root in tree.roots]


def test_a_retriever_s_spans_stand_under_the_stage(documents: Path) -> None:
    retriever = LlamaIndexRetriever(documents=documents, embedder=WordVectors(), k=1)
    [run] = traced(Flow(stages={"retrieve": retriever, "prompt": Write(), "model": Say()}), "apples")
    stage = next(child for child in run.child_runs if child.name == "retrieve")
    assert stage.run_type == "retriever"
    [retrieve] = stage.child_runs
    assert retrieve.name == "VectorIndexRetriever.retrieve" and retrieve.trace_id == run.trace_id
    assert "VectorIndexRetriever._retrieve" in names(retrieve)
    assert retrieve.inputs["str_or_query_bundle"] == "apples"
    assert retrieve.outputs == {"output": ["apples and pears"]} and retrieve.error is None


class Queries(Stage):
    """A stage of somebody's own, which asks a query engine of LlamaIndex."""

    writes = "answer"
    fails: bool = False

    def run(self, question: str, call: Call) -> str:
        from llama_index.core.llms import MockLLM
        from llama_index.core.response_synthesizers import TreeSummarize

        with nested_spans(call):
            if self.fails:
                return str(TreeSummarize(llm=MockLLM()).get_response(question, 7))  # type: ignore[arg-type]
            return str(TreeSummarize(llm=MockLLM()).get_response(question, [f"text of {question}"]))


def test_each_question_of_a_batch_has_the_spans_of_its_own_stage() -> None:
    runs = traced(Flow(stages={"ask": Queries()}), "first", "second", "third")
    found = {}
    for run in runs:
        [stage] = run.child_runs
        [response] = stage.child_runs
        found[run.inputs["question"]] = response.inputs["query_str"]
        assert any("MockLLM" in name for name in flat(names(response)))
    assert found == {question: question for question in ("first", "second", "third")}


def test_a_span_that_fails_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Exception, match="TypeError"):
        traced(Flow(stages={"ask": Queries(fails=True)}), "q")
    tree = Tree()
    with Runner() as runner, pytest.raises(Exception, match="TypeError"):
        FlowRunnable(Flow(stages={"ask": Queries(fails=True)}), runner).invoke("q", config={"callbacks": [tree]})
    [stage] = tree.roots[0].child_runs
    assert "TypeError" in str(stage.child_runs[0].error)
    assert not caplog.records


def test_without_an_application_that_listens_nothing_is_told() -> None:
    with Runner() as runner:
        assert FlowRunnable(Flow(stages={"ask": Queries()}), runner).invoke("q")["answer"]
    with nested_spans(Call()):
        pass


def flat(tree: dict[str, Any]) -> list[str]:
    return [name for top, below in tree.items() for name in (top, *flat(below))]
