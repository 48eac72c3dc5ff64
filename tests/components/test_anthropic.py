"""Anthropic's protocol: against a real llama.cpp server, and against a server that refuses and hangs up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from llmops_flows import BackendError, DeadlineExceeded, Outcome, load_flow
from llmops_flows.calls.event_loop import run_sync
from llmops_flows.components.model.anthropic import Anthropic
from llmops_flows.core.roles import Prices
from llmops_flows.core.stage import Call
from tests.support.http_server import StubResponse, StubServer

KEY = "sk-ant-ABCDEFGHIJKLMNOP0123"
ASKED: Any = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "system", "content": "Be kind."},
]


def event(kind: str, **fields: Any) -> str:
    return f"{json.dumps({'type': kind, **fields})}\nevent: {kind}"


START = event(
    "message_start",
    message={
        "id": "1", "type": "message", "role": "assistant", "model": "claude-x", "content": [], "stop_reason": None,
        "usage": {
            "input_tokens": 60, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 10, "output_tokens": 1
        },
    },
)  # fmt: skip


def text(said: str) -> str:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": said})


def end(reason: str, **more: Any) -> list[str]:
    usage = {"output_tokens": 20, "output_tokens_details": {"thinking_tokens": 5}}
    return [event("message_delta", delta={"stop_reason": reason, **more}, usage=usage), event("message_stop")]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    """The client's import does not count into deadlines."""
    import anthropic  # noqa: F401


@pytest.fixture
def server() -> Iterator[StubServer]:
    with StubServer(StubResponse(pieces=[START, text("Par"), text("is"), *end("end_turn")])) as running:
        yield running


def model(server: StubServer, **fields: Any) -> Anthropic:
    return Anthropic(base_url=server.url, **fields)


def answer(asked: Anthropic, call: Call | None = None) -> Outcome:
    return run_sync(asked.run(ASKED, call or Call()))


def test_a_flow_runs_on_a_local_server(llama: str, llama_key: str) -> None:
    server = (
        f"model.base_url={llama}",
        f"model.api_key_env={llama_key}",
        "model.name=smollm2",
        "model.takes_temperature=true",
    )
    flow = load_flow("chat", "model=anthropic", *server, "model.max_tokens=12", "guardrail=none", "cache=none")
    pieces = [found["answer"] for found in flow.stream("Say hello") if found.get("answer")]
    found = flow.invoke("Say hello")
    assert len(pieces) > 3
    assert "".join(pieces).strip() == found["answer"] != ""
    assert found["usage"]["output_tokens"] == 12


def test_too_long_a_prompt_is_an_error_that_names_the_tokens(llama: str, llama_key: str) -> None:
    asked = Anthropic(base_url=llama, api_key_env=llama_key)
    with pytest.raises(BackendError, match=r"answered 400: request \(\d+ tokens\) exceeds"):
        run_sync(asked.run([{"role": "user", "content": "word " * 3000}], Call()))


def test_system_messages_stop_strings_and_schema_go_where_they_belong(server: StubServer) -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    answer(model(server, stop=("x",), json_schema=schema, effort="low", extra_body={"top_k": 3}, max_tokens=7))
    [asked] = server.requests
    assert asked.path == "/v1/messages"
    assert asked.body == {
        "model": "claude-haiku-4-5",
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "system": "Be brief.\n\nBe kind.",
        "max_tokens": 7,
        "stream": True,
        "stop_sequences": ["x"],
        "temperature": 0.0,
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": schema}},
        "top_k": 3,
    }
    assert KEY in str(asked.headers)


@pytest.mark.parametrize(
    ("name", "accepts_temperature"),
    [
        ("claude-3-5-haiku-latest", True), ("claude-haiku-4-5", True), ("claude-haiku-4-5-20251001", True),
        ("claude-opus-4-6", True), ("claude-sonnet-4-20250514", True), ("claude-opus-4-7", False),
        ("claude-opus-5", False), ("claude-haiku-5-5", False), ("claude-fable-5-1", False),
    ],
)  # fmt: skip
def test_a_temperature_goes_to_the_families_that_take_one(name: str, accepts_temperature: bool) -> None:
    assert ("temperature" in str(Anthropic(name=name).request(ASKED))) is accepts_temperature
    assert (
        Anthropic(name=name, takes_temperature=not accepts_temperature).accepts_temperature is not accepts_temperature
    )


def test_tokens_and_their_price_are_counted_kept_and_keeping_input_too(server: StubServer) -> None:
    found = answer(model(server, prices=Prices(input=1, cached_input=0.1, cache_write=1.25, output=10)))
    assert found.usage == {
        "input_tokens": 100,
        "output_tokens": 20,
        "total_tokens": 120,
        "input_token_details": {"cache_read": 30, "cache_creation": 10},
        "output_token_details": {"reasoning": 5},
        "cost_usd": pytest.approx((60 * 1 + 30 * 0.1 + 10 * 1.25 + 20 * 10) / 1e6),
    }
    assert found.value == "Paris"
    assert found.notes == {"model": "claude-x", "finish_reason": "stop"}


def test_a_refusal_is_an_answer_that_is_never_kept(server: StubServer) -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "This could do harm."}
    server.reply(StubResponse(pieces=[START, *end("refusal", stop_details=details)]))
    found = answer(model(server))
    assert (found.value, found.cacheable, found.notes["finish_reason"]) == ("This could do harm.", False, "refusal")


def test_an_answer_that_reached_max_tokens_says_so(server: StubServer) -> None:
    server.reply(StubResponse(pieces=[START, text("Par"), *end("max_tokens")]))
    found = answer(model(server))
    assert (found.value, found.cacheable, found.notes["finish_reason"]) == ("Par", True, "length")


@pytest.mark.parametrize(
    ("pieces", "cut", "status", "words"),
    [
        ([START, text("Par")], True, 0, "was interrupted"),
        ([START, text("Par"), event("message_stop")], False, 0, "was interrupted"),
        (
            [START, event("error", error={"type": "overloaded_error", "message": "Overloaded"})],
            False,
            529,
            "Overloaded",
        ),
        ([START, event("error", error={"type": "rate_limit_error", "message": "Slowly"})], False, 429, "Slowly"),
    ],
)
def test_an_answer_that_broke_off_is_an_error_and_never_an_answer(
    server: StubServer, pieces: list[str], cut: bool, status: int, words: str
) -> None:
    server.reply(StubResponse(pieces=pieces, cut=cut))
    with pytest.raises(BackendError, match=words) as caught:
        answer(model(server))
    assert (caught.value.status, caught.value.retryable) == (status, True)


@pytest.mark.parametrize(("status", "retryable"), [(400, False), (401, False), (413, False), (429, True), (529, True)])
def test_a_status_says_whether_to_try_again(server: StubServer, status: int, retryable: bool) -> None:
    body = {"type": "error", "error": {"type": "x", "message": f"no, {KEY}"}}
    server.reply(StubResponse(status, {"Retry-After": "3"}, body))
    with pytest.raises(BackendError, match=f"claude-haiku-4-5 answered {status}") as caught:
        answer(model(server))
    assert (caught.value.status, caught.value.retryable, caught.value.retry_after) == (status, retryable, 3.0)
    assert len(server.requests) == 1
    assert KEY not in str(caught.value)


def test_the_deadline_of_the_call_is_kept(server: StubServer) -> None:
    import time

    server.reply(StubResponse(hang=True))
    with pytest.raises(DeadlineExceeded):
        answer(model(server), Call(deadline=time.monotonic() + 0.2))
