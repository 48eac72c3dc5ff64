"""OpenAI's protocol: against a real llama.cpp server, and against a server that refuses, stalls and hangs up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from llmops_flows import BackendError, DeadlineExceeded, Flow, Outcome, Record, Runner, load_flow
from llmops_flows.calls.event_loop import run_sync
from llmops_flows.components.model.openai import OpenAI
from llmops_flows.components.model.openai_compatible import OpenAICompatible
from llmops_flows.components.model.openai_stream import supports_strict
from llmops_flows.core.roles import Model, Prices
from llmops_flows.core.stage import Call
from llmops_flows.stores.memory_store import MemoryStore
from tests.support.http_server import StubResponse, StubServer

KEY = "sk-proj-ABCDEFGHIJKLMNOP0123"
ASKED: Any = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is the capital of France?"},
]
USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 10,
    "total_tokens": 110,
    "prompt_tokens_details": {"cached_tokens": 40},
    "completion_tokens_details": {"reasoning_tokens": 6},
}


def piece(content: str | None = None, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": content, **delta}, "finish_reason": finish}
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-x-2025", "choices": [choice]}


def said(*texts: str, finish: str = "stop", usage: dict[str, Any] | None = USAGE, **more: Any) -> StubResponse:
    """A whole streamed answer."""
    end = [] if usage is None else [{**piece(), "choices": [], "usage": usage}]
    return StubResponse(pieces=[*(piece(t) for t in texts), piece(finish=finish), *end, "[DONE]"], **more)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    """The client's import does not count into deadlines."""
    import openai  # noqa: F401


@pytest.fixture
def server() -> Iterator[StubServer]:
    with StubServer(said("Paris", ".")) as running:
        yield running


def model(server: StubServer, **fields: Any) -> OpenAI:
    return OpenAI(base_url=f"{server.url}/v1", **fields)


def answer(asked: Model, call: Call | None = None, messages: Any = ASKED) -> Outcome:
    return run_sync(asked.run(messages, call or Call()))


# -- a real server ----------------------------------------------------------------------------------------------


def test_a_flow_runs_on_a_local_server(llama: str, llama_key: str) -> None:
    server = (f"model.base_url={llama}/v1", f"model.api_key_env={llama_key}")
    flow = load_flow("chat", "model=openai_compatible", *server, "model.max_tokens=12", "guardrail=none", "cache=none")
    pieces = [found["answer"] for found in flow.stream("Say hello") if found.get("answer")]
    found = flow.invoke("Say hello")
    assert len(pieces) > 3
    assert "".join(pieces).strip() == found["answer"] != ""
    assert found["usage"]["output_tokens"] == 12


def test_openais_own_option_speaks_to_the_same_server(llama: str, llama_key: str) -> None:
    fields: dict[str, Any] = {"base_url": f"{llama}/v1", "api_key_env": llama_key, "max_tokens": 4}
    one = answer(OpenAI(name="smollm2", **fields))
    other = answer(OpenAICompatible(name="smollm2", **fields))
    assert one.value == other.value != ""
    assert one.notes == {"model": "smollm2", "finish_reason": "length"}
    assert one.usage["total_tokens"] == one.usage["input_tokens"] + 4


def test_an_answer_keeps_to_a_json_schema(llama: str, llama_key: str) -> None:
    import json

    schema = {
        "type": "object",
        "properties": {"capital": {"enum": ["Paris", "Rome"]}},
        "required": ["capital"],
        "additionalProperties": False,
    }
    asked = OpenAICompatible(name="x", base_url=f"{llama}/v1", api_key_env=llama_key, json_schema=schema)
    assert json.loads(answer(asked).value)["capital"] in ("Paris", "Rome")


def test_stop_strings_and_seeds_reach_the_server(llama: str, llama_key: str) -> None:
    fields: dict[str, Any] = {"base_url": f"{llama}/v1", "api_key_env": llama_key, "name": "x", "max_tokens": 12}
    whole = answer(OpenAICompatible(**fields)).value
    word = whole.split()[2]
    cut = answer(OpenAICompatible(**fields, stop=(word,)))
    assert cut.value == whole.partition(word)[0].strip()
    assert cut.notes["finish_reason"] == "stop"
    drawn = [answer(OpenAICompatible(**fields, temperature=1.5, seed=seed)).value for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_too_long_a_prompt_is_an_error_that_names_the_tokens(llama: str, llama_key: str) -> None:
    asked = OpenAICompatible(name="x", base_url=f"{llama}/v1", api_key_env=llama_key)
    with pytest.raises(BackendError, match=r"answered 400: request \(\d+ tokens\) exceeds") as caught:
        answer(asked, messages=[{"role": "user", "content": "word " * 3000}])
    assert not caught.value.retryable


def test_a_wrong_key_is_told_without_showing_it(llama: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_VARIABLE", "not-the-right-one-0123456789")
    with pytest.raises(BackendError, match="answered 401") as caught:
        answer(OpenAICompatible(name="x", base_url=f"{llama}/v1", api_key_env="OTHER_VARIABLE"))
    assert "api_key_env" in str(caught.value)
    assert "not-the-right-one" not in everything(caught.value)


# -- what is asked ----------------------------------------------------------------------------------------------


def test_a_model_that_thinks_is_asked_as_its_family_demands(server: StubServer) -> None:
    answer(model(server, reasoning_effort="low", max_tokens=300))
    [asked] = server.requests
    assert asked.body["max_completion_tokens"] == 300
    assert asked.body["reasoning_effort"] == "low"
    assert not {"temperature", "max_tokens", "stop"} & set(asked.body)
    assert asked.body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("name", "thinks"),
    [
        ("gpt-5-mini", True), ("gpt-5.4-nano", True), ("o3", True), ("o4-mini-2025-04-16", True), ("gpt-6-sol", True),
        ("ft:gpt-5-mini:me", True), ("gpt-5-chat-latest", False), ("gpt-4.1", False), ("gpt-4o-mini", False),
        ("ft:gpt-4.1-mini:me", False), ("chatgpt-4o-latest", False), ("llama", False),
    ],
)  # fmt: skip
def test_reasoning_models_are_recognized_by_name(name: str, thinks: bool) -> None:
    assert OpenAI(name=name).is_reasoning_model is thinks
    assert OpenAI(name=name, reasoning=not thinks).is_reasoning_model is not thinks


def test_a_model_that_does_not_think_takes_temperature_stop_and_seed(server: StubServer) -> None:
    answer(model(server, name="gpt-4.1", temperature=0.3, stop=("x",), seed=4, reasoning_effort="low"))
    body = server.requests[0].body
    assert (body["temperature"], body["stop"], body["seed"]) == (0.3, ["x"], 4)
    assert "reasoning_effort" not in body


def test_further_fields_organization_and_project_are_sent(server: StubServer) -> None:
    answer(model(server, extra_body={"service_tier": "flex"}, organization="org-1", project="proj-1"))
    [asked] = server.requests
    assert asked.body["service_tier"] == "flex"
    assert (asked.headers["OpenAI-Organization"], asked.headers["OpenAI-Project"]) == ("org-1", "proj-1")
    assert asked.headers["Authorization"] == f"Bearer {KEY}"


def test_a_compatible_server_is_asked_in_the_old_names_and_needs_no_key(server: StubServer) -> None:
    assert answer(OpenAICompatible(name="m", base_url=f"{server.url}/v1")).value == "Paris."
    [asked] = server.requests
    assert asked.body["max_tokens"] == 256
    assert "max_completion_tokens" not in asked.body
    assert KEY not in str(asked.headers)


def test_a_changed_key_is_used_by_the_next_call(server: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = model(server)
    answer(asked)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-another-ABCDEFGHIJ\n")
    answer(asked)
    assert [a.headers["Authorization"] for a in server.requests] == [
        f"Bearer {KEY}",
        "Bearer sk-proj-another-ABCDEFGHIJ",
    ]


def test_a_schema_is_strict_where_openai_can_hold_an_answer_to_it() -> None:
    closed = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert supports_strict(closed)
    assert not supports_strict({**closed, "required": []})
    assert not supports_strict({**closed, "properties": {"a": {"type": "object", "properties": {}}}})


# -- what is answered -------------------------------------------------------------------------------------------


def test_tokens_and_their_price_are_counted_kept_input_and_thoughts_too(server: StubServer) -> None:
    found = answer(model(server, prices=Prices(input=1, cached_input=0.1, output=10)))
    assert found.usage == {
        "input_tokens": 100,
        "output_tokens": 10,
        "total_tokens": 110,
        "input_token_details": {"cache_read": 40},
        "output_token_details": {"reasoning": 6},
        "cost_usd": pytest.approx((60 * 1 + 40 * 0.1 + 10 * 10) / 1e6),
    }
    assert found.notes == {"model": "gpt-x-2025", "finish_reason": "stop"}


def test_a_server_that_counts_nothing_leaves_the_usage_empty(server: StubServer) -> None:
    server.reply(said("Paris", usage=None))
    assert answer(model(server)).usage == {}


def test_pieces_are_shown_as_they_come(server: StubServer) -> None:
    shown: list[str] = []
    answer(model(server), Call(token=shown.append))
    assert shown == ["Paris", "."]


@pytest.mark.parametrize(
    ("reply", "value", "finish"),
    [
        (StubResponse(pieces=[piece(refusal="I will not."), piece(finish="stop"), "[DONE]"]), "I will not.", "refusal"),
        (said("A bad th", finish="content_filter"), "A bad th", "content_filter"),
    ],
)
def test_a_refusal_is_an_answer_that_is_never_kept(
    server: StubServer, reply: StubResponse, value: str, finish: str
) -> None:
    server.reply(reply)
    store, flow = MemoryStore(), Flow(stages={"model": model(server)}, inputs=("messages",))
    with Runner(store=store) as runner:
        for _ in range(2):
            [record] = runner.run(flow, [Record.of("1", {"messages": ASKED})])
            assert record.answer == value
            assert record.spans[-1].notes["finish_reason"] == finish
    assert len(server.requests) == 2


def test_an_answer_that_reached_max_tokens_is_kept(server: StubServer) -> None:
    server.reply(said("Paris is", finish="length"))
    flow = Flow(stages={"model": model(server)}, inputs=("messages",))
    with Runner(store=MemoryStore()) as runner:
        for _ in range(2):
            [record] = runner.run(flow, [Record.of("1", {"messages": ASKED})])
            assert record.answer == "Paris is"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("reply", "schema", "words"),
    [
        (said(finish="length"), None, "max_tokens=256 before it wrote any text"),
        (said('{"a": "b', finish="length"), {"type": "object"}, "before its JSON was complete"),
        (said(finish="content_filter"), None, "content filter"),
    ],
)
def test_what_is_no_answer_is_an_error(server: StubServer, reply: StubResponse, schema: Any, words: str) -> None:
    server.reply(reply)
    with pytest.raises(BackendError, match=words) as caught:
        answer(model(server, json_schema=schema))
    assert not caught.value.retryable


@pytest.mark.parametrize(
    "reply",
    [
        StubResponse(pieces=[piece("Par"), piece("is")], cut=True),
        StubResponse(pieces=[piece("Par"), piece("is"), "[DONE]"]),
        StubResponse(pieces=[piece("Par"), piece("is")]),
        StubResponse(pieces=[piece("Par"), "{not json"]),
        StubResponse(pieces=[piece("Par"), {"error": {"message": "overloaded", "type": "server_error", "code": None}}]),
        StubResponse(cut=True),
    ],
    ids=["hung up", "no reason", "no end", "garbage", "error inside", "no word"],
)
def test_an_answer_that_broke_off_is_an_error_and_never_an_answer(server: StubServer, reply: StubResponse) -> None:
    server.reply(reply)
    with pytest.raises(BackendError) as caught:
        answer(model(server))
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("status", "headers", "body", "retryable", "wait"),
    [
        (400, {}, {"message": "bad"}, False, None),
        (401, {}, {"message": f"Incorrect API key provided: {KEY}"}, False, None),
        (403, {}, {"message": "no"}, False, None),
        (404, {}, {"message": "no such model"}, False, None),
        (429, {"Retry-After": "7"}, {"message": "slow down", "code": "rate_limit_exceeded"}, True, 7.0),
        (429, {}, {"message": "You exceeded your current quota", "code": "insufficient_quota"}, False, None),
        (500, {}, {"message": "oops"}, True, None),
        (503, {"Retry-After": "soon"}, {"message": "busy"}, True, None),
        (529, {}, {"message": "overloaded"}, True, None),
    ],
)
def test_a_status_says_whether_to_try_again_and_when(
    server: StubServer, status: int, headers: dict[str, str], body: dict[str, str], retryable: bool, wait: float | None
) -> None:
    server.reply(StubResponse(status, headers, {"error": body}))
    with pytest.raises(BackendError, match=f"gpt-5-mini answered {status}") as caught:
        answer(model(server))
    assert (caught.value.status, caught.value.retryable, caught.value.retry_after) == (status, retryable, wait)
    assert len(server.requests) == 1
    assert KEY not in everything(caught.value)


def test_a_server_that_is_not_there_is_worth_another_try() -> None:
    with StubServer() as server:
        gone = f"{server.url}/v1"
    with pytest.raises(BackendError, match="could not be reached") as caught:
        answer(OpenAICompatible(name="m", base_url=gone))
    assert (caught.value.status, caught.value.retryable) == (0, True)


@pytest.mark.parametrize(
    "reply",
    [StubResponse(hang=True), said(*"abcdefghij" * 3, every=0.1), StubResponse(pieces=[piece("a")], stall=True)],
    ids=["silent", "dripping", "stalled"],
)
def test_the_deadline_of_the_call_is_kept(server: StubServer, reply: StubResponse) -> None:
    server.reply(reply)
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded, match="gpt-5-mini"):
        answer(model(server), Call(deadline=began + 0.4))
    assert time.monotonic() - began < 0.8


def test_the_limits_keep_a_call_that_has_no_deadline(server: StubServer) -> None:
    server.reply(StubResponse(hang=True))
    with pytest.raises(DeadlineExceeded, match=r"limits\.timeout"):
        answer(model(server, limits={"timeout": 0.2}))


def test_a_cancelled_call_hangs_up(server: StubServer) -> None:
    server.reply(said(*"abcdefghij" * 10, every=0.02))

    async def interrupted() -> None:
        call = asyncio.ensure_future(model(server).run(ASKED, Call()))
        await asyncio.sleep(0.3)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()

    run_sync(interrupted())
    waited = time.monotonic() + 2
    while not server.disconnects and time.monotonic() < waited:
        time.sleep(0.01)
    assert server.disconnects == 1


def test_a_call_that_nobody_waits_for_ends(server: StubServer) -> None:
    with pytest.raises(BackendError, match="cancelled"):
        answer(model(server), Call(cancelled=lambda: True))


def test_models_that_differ_in_how_they_ask_share_one_connection(server: StubServer) -> None:
    assert model(server).connection.identity == model(server, name="gpt-4.1", temperature=0.5).connection.identity
    assert model(server).backend != model(server, name="gpt-4.1").backend


def test_the_fallback_answers_and_says_for_whom(server: StubServer) -> None:
    with StubServer(StubResponse(400, {}, {"error": {"message": "no"}})) as broken:
        first = model(broken, fallback=OpenAICompatible(name="second", base_url=f"{server.url}/v1"))
        flow = Flow(stages={"model": first}, inputs=("messages",))
        with Runner(store=MemoryStore()) as runner:
            [record] = runner.run(flow, [Record.of("1", {"messages": ASKED})])
    assert record.answer == "Paris."
    assert "answered 400" in str(record.spans[-1].notes)


def everything(error: BaseException | None) -> str:
    """Every text that a traceback of the error could show."""
    import traceback

    assert error is not None
    return "".join(traceback.format_exception(error)) + str(vars(error))
