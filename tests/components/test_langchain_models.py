"""Any LangChain chat model class as a model: nested in the caller's trace, retried by nobody else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tracers.base import BaseTracer

from llmops_flows import BackendError, ConfigError, DeadlineExceeded, Flow, Outcome, Record, Runner, load_flow
from llmops_flows.calls.event_loop import run_sync
from llmops_flows.components.model.langchain import LangChainModel
from llmops_flows.core.stage import Call
from llmops_flows.integrations.langchain.runnable import FlowRunnable
from tests.components.test_openai import KEY, USAGE, everything, piece, said
from tests.support.http_server import StubResponse, StubServer

ASKED: Any = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    """The import does not count into deadlines."""
    import langchain_openai  # noqa: F401


@pytest.fixture
def server() -> Iterator[StubServer]:
    with StubServer(said("Paris", ".")) as running:
        yield running


def model(server: StubServer, params: dict[str, Any] | None = None, **fields: Any) -> LangChainModel:
    given = {"base_url": f"{server.url}/v1", **(params or {})}
    return LangChainModel(**{"target": "langchain_openai.ChatOpenAI", "name": "gpt-4.1", "params": given, **fields})


def answer(asked: LangChainModel, call: Call | None = None, messages: Any = ASKED) -> Outcome:
    return run_sync(asked.run(messages, call or Call()))


def test_a_flow_runs_on_a_local_server(llama: str, monkeypatch: pytest.MonkeyPatch, llama_key: str) -> None:
    import os

    monkeypatch.setenv("OPENAI_API_KEY", os.environ[llama_key])
    where = f"+model.params.base_url={llama}/v1"
    flow = load_flow("chat", "model=langchain", "model.name=smollm2", where, "model.max_tokens=12", "guardrail=none")
    pieces = [found["answer"] for found in flow.stream("Say hello") if found.get("answer")]
    assert len(pieces) > 3
    found = flow.invoke("Say hello")
    assert "".join(pieces).strip() == found["answer"] != ""


def test_fields_reach_the_class_and_params_come_first(server: StubServer) -> None:
    answer(model(server, {"temperature": 0.9}, temperature=0.1, max_tokens=33, seed=5, stop=("x",)))
    body = server.requests[0].body
    assert (body["temperature"], body["max_completion_tokens"], body["seed"], body["stop"]) == (0.9, 33, 5, ["x"])
    assert body["model"] == "gpt-4.1"


def test_temperature_in_params_decides_whether_answers_are_random(server: StubServer) -> None:
    assert model(server, {"temperature": 0.9}).random
    assert not model(server, {"temperature": 0}, temperature=0.5).random
    assert not model(server, {"temperature": 0.9, "seed": 1}).random


def test_messages_of_every_kind_arrive_as_they_were(server: StubServer) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    messages: Any = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi", "name": "ann"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "42", "tool_call_id": "c1"},
    ]
    answer(model(server), messages=messages)
    arrived = server.requests[0].body["messages"]
    assert [m["role"] for m in arrived] == ["system", "user", "assistant", "tool"]
    assert arrived[1]["name"] == "ann"
    assert json.loads(arrived[2]["tool_calls"][0]["function"]["arguments"]) == {"a": 1}
    assert arrived[3]["tool_call_id"] == "c1"


def test_tokens_are_counted_kept_input_and_thoughts_too(server: StubServer) -> None:
    found = answer(model(server))
    assert found.value == "Paris."
    assert found.usage["input_tokens"] == USAGE["prompt_tokens"]
    assert found.usage["input_token_details"] == {"cache_read": 40}
    assert found.usage["output_token_details"] == {"reasoning": 6}
    assert found.notes == {"model": "gpt-x-2025", "finish_reason": "stop"}


def test_nobody_retries_but_the_gate_whatever_params_say(server: StubServer) -> None:
    server.reply(StubResponse(500, {}, {"error": {"message": "oops"}}))
    with pytest.raises(BackendError, match=r"gpt-4\.1 answered 500") as caught:
        answer(model(server, {"max_retries": 5}))
    assert caught.value.retryable
    assert len(server.requests) == 1


def test_errors_keep_their_status_and_lose_the_key(server: StubServer) -> None:
    server.reply(StubResponse(429, {"Retry-After": "9"}, {"error": {"message": f"slow down {KEY}"}}))
    with pytest.raises(BackendError) as caught:
        answer(model(server))
    assert (caught.value.status, caught.value.retry_after, caught.value.retryable) == (429, 9.0, True)
    assert KEY not in everything(caught.value)


@pytest.mark.parametrize(
    "reply",
    [
        StubResponse(pieces=[piece("Par"), piece("is")], cut=True),
        StubResponse(pieces=[piece("Par"), piece("is"), "[DONE]"]),
        StubResponse(cut=True),
    ],
    ids=["hung up", "no reason", "no word"],
)
def test_an_answer_that_broke_off_is_an_error_and_never_an_answer(server: StubServer, reply: StubResponse) -> None:
    server.reply(reply)
    with pytest.raises(BackendError) as caught:
        answer(model(server))
    assert caught.value.retryable


def test_the_deadline_of_the_call_is_kept(server: StubServer) -> None:
    import time

    server.reply(StubResponse(hang=True))
    with pytest.raises(DeadlineExceeded):
        answer(model(server), Call(deadline=time.monotonic() + 0.5))


def whole(**message: Any) -> StubResponse:
    """A whole answer, not streamed."""
    choice = {"index": 0, "message": {"role": "assistant", "content": None, **message}, "finish_reason": "stop"}
    about = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "usage": USAGE}
    return StubResponse(body={**about, "choices": [choice]})


def test_a_refusal_is_never_kept(server: StubServer) -> None:
    server.reply(whole(refusal="I will not."))
    found = answer(model(server, json_schema={"type": "object"}))
    assert (found.value, found.cacheable, found.notes["finish_reason"]) == ("I will not.", False, "refusal")


def test_a_json_schema_is_kept_to_by_the_means_of_the_class(server: StubServer) -> None:
    server.reply(whole(content='{"a": 1}'))
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    found = answer(model(server, json_schema=schema))
    assert json.loads(found.value) == {"a": 1}
    assert server.requests[0].body["response_format"]["json_schema"]["schema"]["properties"] == schema["properties"]


@pytest.mark.parametrize(
    "target", ["langchain_openai.OpenAIEmbeddings", "langchain_openai.nothing", "langchain_core.load"]
)
def test_a_target_that_is_no_chat_model_is_refused(target: str) -> None:
    with pytest.raises(ConfigError, match="is not a LangChain chat model class"):
        answer(LangChainModel(target=target, name="x"))


# -- in the caller's trace -------------------------------------------------------------------------------------------


class Runs(BaseTracer):
    """Keeps the finished root runs."""

    def __init__(self) -> None:
        super().__init__()
        self.roots: list[Any] = []

    def _persist_run(self, run: Any) -> None:
        self.roots.append(run)


def tree(run: Any) -> Any:
    return {f"{run.name}:{run.run_type}": [tree(child) for child in run.child_runs]}


def flow(server: StubServer) -> FlowRunnable:
    return FlowRunnable(Flow(name="f", stages={"model": model(server)}, inputs=("messages",)), Runner())


NESTED = {"f:chain": [{"model:chain": [{"ChatOpenAI:llm": []}]}]}


def test_its_run_nests_in_the_callers_trace_once(server: StubServer) -> None:
    runs = Runs()
    flow(server).invoke({"messages": ASKED}, {"callbacks": [runs], "tags": ["mine"], "metadata": {"who": "me"}})
    [root] = runs.roots
    assert tree(root) == NESTED
    [inner] = root.child_runs[0].child_runs
    assert "mine" in inner.tags
    assert inner.extra["metadata"]["who"] == "me"
    assert inner.outputs["generations"][0][0]["message"]["kwargs"]["usage_metadata"]["input_tokens"] == 100


async def test_it_nests_under_await_too(server: StubServer) -> None:
    runs = Runs()
    await flow(server).ainvoke({"messages": ASKED}, {"callbacks": [runs]})
    assert [tree(root) for root in runs.roots] == [NESTED]


def test_each_record_of_a_batch_nests_under_its_own_run(server: StubServer) -> None:
    runs = Runs()
    asked = [{"messages": [{"role": "user", "content": text}]} for text in ("one", "two", "three")]
    flow(server).batch(asked, {"callbacks": [runs]})
    assert [tree(root) for root in runs.roots] == [NESTED] * 3


def test_tokens_reach_the_callers_callbacks_once(server: StubServer) -> None:
    class Tokens(BaseCallbackHandler):
        seen: list[str] = []

        def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
            self.seen.append(token)

    handler = Tokens()
    pieces = [p["answer"] for p in flow(server).stream({"messages": ASKED}, {"callbacks": [handler]}) if "answer" in p]
    assert pieces == ["Paris", "."]
    assert [token for token in handler.seen if token] == ["Paris", "."]


def test_tracing_by_environment_does_not_tell_a_run_twice(server: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with StubServer() as langsmith:
        monkeypatch.setenv("LANGSMITH_TRACING", "true")
        monkeypatch.setenv("LANGSMITH_ENDPOINT", langsmith.url)
        monkeypatch.setenv("LANGSMITH_API_KEY", "lsv2_pt_0123456789abcdef0123456789abcdef")
        with Runner() as runner:
            one = Flow(stages={"model": model(server)}, inputs=("messages",))
            [record] = runner.run(one, [Record.of("1", {"messages": ASKED})])
        assert record.answer == "Paris."
        assert langsmith.requests == []


# -- classes that do less ------------------------------------------------------------------------------------------


class Plain(BaseChatModel):
    """Knows neither streams nor usage nor reasons."""

    @property
    def _llm_type(self) -> str:
        return "plain"

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(f"you said {messages[-1].content}"))])


class Blocks(Plain):
    """Answers in content blocks, as newer classes do."""

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for block in (
            {"type": "reasoning", "reasoning": "hm", "index": 0},
            {"type": "text", "text": "Paris", "index": 1},
        ):
            yield ChatGenerationChunk(message=AIMessageChunk(content=[block]))


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classes above, as if a library of LangChain's family had them."""
    import sys
    import types

    module = types.ModuleType("langchain_own")
    module.__spec__ = types.SimpleNamespace(name="langchain_own", origin=__file__)  # type: ignore[assignment]
    for cls in (Plain, Blocks):
        monkeypatch.setattr(cls, "__module__", "langchain_own")
        setattr(module, cls.__name__, cls)
    monkeypatch.setitem(sys.modules, "langchain_own", module)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(("name", "value"), [("Plain", "you said What is the capital of France?"), ("Blocks", "Paris")])
def test_a_class_that_neither_streams_nor_counts_answers_too(name: str, value: str) -> None:
    found = answer(LangChainModel(target=f"langchain_own.{name}", name="m"))
    assert (found.value, found.usage, found.notes["finish_reason"]) == (value, {}, "stop")


@pytest.mark.usefixtures("own")
def test_a_class_that_cannot_hold_to_a_schema_says_so() -> None:
    with pytest.raises(BackendError, match="does not support answers that follow a JSON schema"):
        answer(LangChainModel(target="langchain_own.Plain", name="m", json_schema={"type": "object"}))
