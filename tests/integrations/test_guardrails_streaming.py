"""While an answer is written, nothing is shown that a guardrail may still block."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from llmops_flows import Flow, Runner
from llmops_flows.components.guardrail.validator_guardrail import ValidatorGuardrail
from llmops_flows.integrations.langchain.runnable import FlowRunnable
from tests.support.guardrail_flows import DOCUMENTS, MAIL, WEAPONS, chat, guard


@pytest.fixture
def runner() -> Iterator[Runner]:
    with Runner() as runner:
        yield runner


def pieces(flow: Flow, runner: Runner, **slots: Any) -> list[str]:
    shown = FlowRunnable(flow, runner).stream({"question": "What is covered?", **slots})
    return [found["answer"] for found in shown if "answer" in found]


LONG = "Standard covers emergency care. Ask ann@mail.org about it. It is open all day."


def test_sentences_are_shown_as_they_pass(runner: Runner) -> None:
    after = guard(not_empty={"on_fail": "refrain"}, pii={"on_fail": "fix"})
    shown = pieces(chat(LONG, after=after), runner)
    assert shown == ["Standard covers emergency care.", " Ask [EMAIL] about it.", " It is open all day."]


def test_unsupported_sentences_are_never_shown(runner: Runner) -> None:
    said = "Standard covers emergency care. Elephants roam the African savanna. Standard covers any hospital."
    shown = pieces(chat(said, after=guard(supported={"on_fail": "fix"})), runner, documents=DOCUMENTS)
    assert shown == ["Standard covers emergency care.", " Standard covers any hospital."]


@pytest.mark.parametrize(
    "after",
    [
        guard(length={"on_fail": "fix", "params": {"most": 500}}),
        guard(valid_json={"on_fail": "noop"}, topics={"on_fail": "refrain", **WEAPONS}),
        guard(valid_length={"on_fail": "refrain", "params": {"max": 500}}),
        guard(topics={"on_fail": "reask", **WEAPONS}),
    ],
)
def test_what_needs_the_whole_answer_holds_it_back(after: ValidatorGuardrail, runner: Runner) -> None:
    assert pieces(chat(LONG, after=after), runner) == [LONG]


def test_a_blocked_answer_shows_nothing_of_itself(runner: Runner) -> None:
    after = guard(pii={"on_fail": "fix"}, topics={"on_fail": "refrain", **WEAPONS}, refusal="I can't say that.")
    assert pieces(chat(f"{LONG} Weapons.", after=after), runner) == ["I can't say that."]


def test_on_request_what_passed_is_shown_and_the_refusal_follows(runner: Runner) -> None:
    after = guard(topics={"on_fail": "refrain", **WEAPONS}, refusal="I can't say that.", stream="passed")
    shown = pieces(chat("One. Two. Weapons. Four.", after=after), runner)
    assert shown == ["One.", " Two.", "\nI can't say that."]


def test_a_reasked_answer_shows_only_what_was_accepted(runner: Runner) -> None:
    after = guard(valid_json={"on_fail": "reask"})
    assert pieces(chat("No json. None at all.", "[1]", after=after), runner) == ["[1]"]


def test_two_guardrails_release_only_what_both_let_pass(runner: Runner) -> None:
    flow = chat(LONG, after=guard(pii={"on_fail": "fix"}))
    cut = guard(topics={"on_fail": "fix", "name": "forbidden_topics", "params": {"topics": ["open"]}})
    shown = pieces(flow.model_copy(update={"stages": {**flow.stages, "last_guard": cut}}), runner)
    assert "".join(shown) == "Standard covers emergency care. Ask [EMAIL] about it."
    assert len(shown) == 2


def test_astream_shows_the_same(runner: Runner) -> None:
    flow = FlowRunnable(chat(LONG, after=guard(pii={"on_fail": "fix"})), runner)

    async def collect() -> list[str]:
        return [p["answer"] async for p in flow.astream("What is covered?") if "answer" in p]

    assert asyncio.run(collect()) == [
        "Standard covers emergency care.",
        " Ask [EMAIL] about it.",
        " It is open all day.",
    ]


def test_callbacks_are_not_told_tokens_that_may_still_be_blocked(runner: Runner) -> None:
    async def told(flow: Flow) -> list[str]:
        events = FlowRunnable(flow, runner).astream_events("What is covered?", version="v2")
        return [str(e["data"]["chunk"].content) async for e in events if e["event"] == "on_chat_model_stream"]

    assert asyncio.run(told(chat(MAIL, after=guard(pii={"on_fail": "fix"})))) == []
    assert "".join(asyncio.run(told(chat(MAIL)))) == MAIL
