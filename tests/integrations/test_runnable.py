"""A flow behaves as every other LangChain Runnable."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers import BaseTracer
from langchain_core.tracers.schemas import Run

from llmops_flows import Flow, InputError, Runner, StageError
from llmops_flows.integrations.langchain.runnable import FlowRunnable
from tests.support.stub_stages import RUN_COUNTS, Guard, Say, rag_flow


class Tree(BaseTracer):
    """Keeps the finished root runs."""

    def __init__(self) -> None:
        super().__init__()
        self.roots: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.roots.append(run)


def names(run: Run) -> dict[str, Any]:
    return {child.name: names(child) for child in run.child_runs}


@pytest.fixture
def runner() -> Iterator[Runner]:
    RUN_COUNTS.clear()
    with Runner() as runner:
        yield runner


@pytest.fixture
def flow(runner: Runner) -> FlowRunnable:
    return FlowRunnable(rag_flow(), runner)


ANSWER = "said Answer: a (2)"


def test_invoke_takes_a_dict_or_a_string(flow: FlowRunnable) -> None:
    assert flow.invoke({"question": "a"})["answer"] == flow.invoke("a")["answer"] == ANSWER


def test_the_output_holds_documents_usage_and_verdicts(flow: FlowRunnable) -> None:
    found = flow.invoke("a")
    assert len(found["documents"]) == 2
    assert found["usage"] == {"input_tokens": 3, "output_tokens": 2}
    assert found["verdicts"]["guard"]["passed"] is True


def test_ainvoke_answers_the_same(flow: FlowRunnable) -> None:
    assert asyncio.run(flow.ainvoke("a"))["answer"] == ANSWER


def test_invoke_works_where_an_event_loop_runs(flow: FlowRunnable) -> None:
    async def app() -> str:
        return str(flow.invoke("a")["answer"])

    assert asyncio.run(app()) == ANSWER


def test_a_batch_is_one_batch_of_the_engine(flow: FlowRunnable) -> None:
    found = flow.batch(["a", "a", "b"])
    assert [f["answer"] for f in found] == [ANSWER, ANSWER, "said Answer: b (2)"]
    assert RUN_COUNTS["say"] == 2


def test_abatch_answers_the_same(flow: FlowRunnable) -> None:
    assert [f["answer"] for f in asyncio.run(flow.abatch(["a", "b"]))] == [ANSWER, "said Answer: b (2)"]


def test_a_batch_returns_exceptions_row_by_row(runner: Runner) -> None:
    flow = FlowRunnable(rag_flow(model=Say(fails_on="bad")), runner)
    good, bad, wrong = flow.batch(["good", "bad", {"other": 1}], return_exceptions=True)
    assert good["answer"]
    assert isinstance(bad, StageError)
    assert isinstance(wrong, InputError)


def test_a_batch_raises_the_first_error(runner: Runner) -> None:
    flow = FlowRunnable(rag_flow(model=Say(fails_on="bad")), runner)
    with pytest.raises(StageError, match="out of luck"):
        flow.batch(["good", "bad"])


def test_the_pieces_of_a_stream_add_up_to_the_answer(runner: Runner) -> None:
    flow = FlowRunnable(Flow(stages={**rag_flow().parts, "guard": None}), runner)
    pieces = list(flow.stream("a"))
    assert len([p for p in pieces if "answer" in p]) == 2
    whole = pieces[0]
    for piece in pieces[1:]:
        whole = whole + piece
    assert whole["answer"] == ANSWER
    assert len(whole["documents"]) == 2


def test_a_stream_shows_nothing_that_a_guardrail_may_still_block(runner: Runner) -> None:
    flow = FlowRunnable(rag_flow(guard=Guard(blocks="said")), runner)
    shown = [p["answer"] for p in flow.stream("a") if "answer" in p]
    assert shown == ["I must not say that."]


def test_astream_answers_the_same(flow: FlowRunnable) -> None:
    async def collect() -> str:
        return "".join([p["answer"] async for p in flow.astream("a") if "answer" in p])

    assert asyncio.run(collect()) == ANSWER


def test_astream_events_tells_of_every_stage(flow: FlowRunnable) -> None:
    async def collect() -> list[str]:
        return [f"{e['event']} {e['name']}" async for e in flow.astream_events("a", version="v2")]

    events = asyncio.run(collect())
    assert {"on_chain_start flow", "on_chain_start model", "on_chain_end guard", "on_chain_end flow"} <= set(events)


def test_an_error_in_a_stream_is_raised(runner: Runner) -> None:
    flow = FlowRunnable(rag_flow(model=Say(fails_on="bad")), runner)
    with pytest.raises(StageError, match="out of luck"):
        list(flow.stream("bad"))


def test_the_flow_nests_in_the_callers_trace(flow: FlowRunnable) -> None:
    tree = Tree()
    chain = {"question": itemgetter("text")} | flow | RunnableLambda(lambda r: r["answer"])
    assert chain.invoke({"text": "a"}, config={"callbacks": [tree], "tags": ["mine"]}) == ANSWER
    [root] = tree.roots
    assert names(root)["flow"] == {"retrieve": {}, "prompt": {}, "model": {}, "guard": {}}
    nested = next(child for child in root.child_runs if child.name == "flow")
    assert "mine" in nested.tags
    assert all(child.trace_id == root.id for child in nested.child_runs)


def test_the_trace_of_a_failure_names_the_stage(runner: Runner) -> None:
    tree = Tree()
    flow = FlowRunnable(rag_flow(model=Say(fails_on="bad")), runner)
    with pytest.raises(StageError):
        flow.invoke("bad", config={"callbacks": [tree]})
    model = next(child for child in tree.roots[0].child_runs if child.name == "model")
    assert "out of luck" in str(model.error)


def test_every_row_of_a_batch_has_its_own_trace(flow: FlowRunnable) -> None:
    tree = Tree()
    flow.batch(["a", "b"], config={"callbacks": [tree]})
    assert len(tree.roots) == 2
    assert all(len(root.child_runs) == 4 for root in tree.roots)


def test_retry_and_fallbacks_wrap_it(runner: Runner) -> None:
    bad = FlowRunnable(rag_flow(model=Say(fails_on="Answer")), runner)
    good = FlowRunnable(rag_flow(), runner)
    assert bad.with_fallbacks([good]).invoke("a")["answer"] == ANSWER
    with pytest.raises(StageError):
        bad.with_retry(stop_after_attempt=2, wait_exponential_jitter=False).invoke("a")
    assert RUN_COUNTS["say"] == 4


def test_it_says_what_it_takes_and_gives(flow: FlowRunnable) -> None:
    assert list(flow.get_input_schema().model_json_schema()["properties"]) == ["question"]
    assert "answer" in flow.get_output_schema().model_json_schema()["properties"]


def test_a_wrong_input_says_what_was_expected(flow: FlowRunnable) -> None:
    with pytest.raises(InputError, match=r"'question'.*'text'"):
        flow.invoke({"text": "a"})
    with pytest.raises(InputError, match=r"a string or a dict with question, got 3 \(int\)"):
        flow.invoke(3)
    with pytest.raises(InputError, match=r"did you write 'questoin' for 'question'\?"):
        flow.invoke({"questoin": "a"})
    with pytest.raises(InputError, match=r"must be text, got 5 \(int\)"):
        flow.invoke({"question": 5})
    with pytest.raises(InputError, match=r"the input has 'question' \(None\)$"):
        flow.invoke({"question": None})
    with pytest.raises(InputError) as raised:
        flow.invoke(None)
    assert "config" not in str(raised.value)


def test_many_threads_use_one_flow(flow: FlowRunnable) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda n=n: found.append(flow.invoke(f"q{n}")["answer"])) for n in range(16)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert sorted(found) == sorted(f"said Answer: q{n} (2)" for n in range(16))


def test_handlers_that_raise_do_not_reach_the_answer(flow: FlowRunnable) -> None:
    class Broken(BaseCallbackHandler):
        def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
            raise RuntimeError("broken handler")

    assert flow.invoke("a", config={"callbacks": [Broken()]})["answer"] == ANSWER


def test_a_chain_says_which_flow_it_calls(flow: FlowRunnable) -> None:
    steps = " -> ".join(name for name, _ in flow.flow.leaves())
    assert repr(flow) == f"FlowRunnable({flow.name!r}: {steps})"
    assert "retrieve" in steps and repr(flow) in repr(flow | RunnableLambda(lambda found: found["answer"]))
