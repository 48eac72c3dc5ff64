"""TruLens's RAG triad, graded by a model behind a real OpenAI-protocol server; unreadable replies are errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from llmops_flows import Flow, Record, Runner
from llmops_flows.components.evaluator.trulens import TruLensJudge
from llmops_flows.components.model.echo import Echo
from llmops_flows.components.model.extractive import Extractive
from llmops_flows.components.model.openai_compatible import OpenAICompatible
from llmops_flows.core.flow import Stages
from llmops_flows.core.record import Document
from llmops_flows.core.stage import Stage
from llmops_flows.integrations.trulens.judge import JudgeMetric
from llmops_flows.report.summary import summarize
from llmops_flows.stores.memory_store import MemoryStore
from tests.support.http_server import ReceivedRequest, StubResponse, StubServer

METRICS: tuple[JudgeMetric, ...] = ("context_relevance", "groundedness", "answer_relevance")
DOCUMENTS: list[Document] = [
    {"id": "a", "page_content": "The plan covers emergency care.", "metadata": {}},
    {"id": "b", "page_content": "Parking is free.", "metadata": {}},
]


class Answer(Stage):
    """Answers what the question says."""

    version: ClassVar[int] = 1
    writes = "answer"

    def run(self, question: str) -> str:
        return question.partition("|")[2] or "It covers emergency care. It is free."


def said(text: str) -> StubResponse:
    first = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "judge-1"}
    piece = {
        **first,
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}],
    }
    last = {**first, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    usage = {**first, "choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}}
    return StubResponse(pieces=[piece, last, usage, "[DONE]"])


def grading(asked: ReceivedRequest) -> StubResponse:
    """A judge that grades what speaks of parking 0, and all else 3."""
    user = asked.body["messages"][-1]["content"]
    graded = {"score": 0 if "Parking" in user.split("QUESTION")[-1] and "care" not in user else 3}
    fields = asked.body["response_format"]["json_schema"]["schema"]["required"]
    reasons = {"criteria": "c", "supporting_evidence": "because it says so"}
    return said(json.dumps({name: {**reasons, **graded}[name] for name in fields}))


@pytest.fixture
def server() -> Iterator[StubServer]:
    with StubServer(grading) as running:
        yield running


def judges(server: StubServer, **fields: Any) -> dict[str, Stage]:
    model = OpenAICompatible(
        base_url=f"{server.url}/v1", name="judge-1", limits={"attempts": 1}, prices={"input": 10, "output": 100}
    )
    return {metric: TruLensJudge(metric=metric, judge=model, **fields) for metric in METRICS}


def scored(evaluators: dict[str, Stage], runner: Runner, *questions: str) -> list[Record]:
    stages: Stages = {"answer": Answer()}
    rows = [Record.of(q, {"question": q, "documents": DOCUMENTS}) for q in questions]
    return runner.run(Flow(stages=stages), rows, evaluators=evaluators)


def test_the_triad_is_graded_with_trulens_prompts(server: StubServer) -> None:
    with Runner() as runner:
        [record] = scored(judges(server), runner, "What does it cover?")
    assert record.scores == {
        "judged_context_relevance": pytest.approx(0.5),
        "judged_groundedness": 1.0,
        "judged_answer_relevance": 1.0,
    }
    assert len(server.requests) == 2 + 2 + 1  # passages, sentences, the answer: splitting it asks nobody
    prompts = {asked.body["messages"][0]["content"][:40] for asked in server.requests}
    assert len(prompts) == 3 and any("RELEVANCE grader" in prompt for prompt in prompts)


def test_judging_costs_what_the_judge_cost_and_says_why(server: StubServer) -> None:
    with Runner() as runner:
        [record] = scored(judges(server), runner, "What does it cover?")
    span = next(span for span in record.spans if span.stage == "context_relevance")
    assert span.usage["input_tokens"] == 200 and span.usage["cost_usd"] == pytest.approx(2 * (1000 + 1000) / 1e6)
    assert "because it says so" in span.notes["reasons"][0]


def test_the_judge_is_asked_once_for_what_is_the_same(server: StubServer) -> None:
    with Runner(store=MemoryStore()) as runner:
        scored(judges(server), runner, "What does it cover?")
        before = len(server.requests)
        scored(judges(server), runner, "What does it cover?")
        assert len(server.requests) == before
        [record] = scored(judges(server), runner, "What does it cover?|It covers emergency care. It costs 5.")
    grown = len(server.requests) - before
    assert grown == 2 + 1 + 1  # a new question for two passages, one new sentence, a new answer
    assert record.usage["input_tokens"] == 100 * grown


def test_without_reasons_only_the_grade_is_asked_for(server: StubServer) -> None:
    with Runner() as runner:
        scored({"relevance": judges(server, reasons=False)["answer_relevance"]}, runner, "What does it cover?")
    assert server.requests[0].body["response_format"]["json_schema"]["schema"]["required"] == ["score"]


@pytest.mark.parametrize(
    "reply", ["I cannot say.", "", '{"criteria": "c", "supporting_evidence": "e", "score": 7}', "Supporting Evidence"]
)
def test_a_reply_without_a_grade_is_an_error_and_no_score(server: StubServer, reply: str) -> None:
    server.reply(said(reply))
    with Runner() as runner:
        records = scored({"relevance": judges(server)["answer_relevance"]}, runner, "What does it cover?")
    told = summarize(records)
    assert records[0].scores == {} and told["scores"] == {} and told["errors"]["evaluations"] == 1
    assert next(iter(told["errors"]["causes"])).startswith("relevance: ")


def test_one_unreadable_sentence_is_not_averaged_away(server: StubServer) -> None:
    good = json.dumps({"criteria": "c", "supporting_evidence": "e", "score": 3})
    bad = json.dumps({"criteria": "c", "supporting_evidence": "e", "score": "high"})
    server.reply(said(good), said(bad))
    with Runner() as runner:
        [record] = scored({"grounded": judges(server)["groundedness"]}, runner, "What does it cover?")
    assert record.scores == {} and "no grade" in record.spans[-1].error


def test_a_judge_that_is_down_is_an_error_with_its_cause(server: StubServer) -> None:
    server.reply(StubResponse(500, body={"error": {"message": "the judge is ill"}}))
    with Runner() as runner:
        [record] = scored({"relevance": judges(server)["answer_relevance"]}, runner, "What does it cover?")
    assert record.answer and record.scores == {}
    assert record.spans[-1].state == "failed" and "the judge is ill" in record.spans[-1].error


def test_a_refusal_claims_nothing_and_is_not_judged(server: StubServer) -> None:
    with Runner() as runner:
        [record] = scored({"grounded": judges(server)["groundedness"]}, runner, "why|I don't know.")
    assert record.scores == {"judged_groundedness": None} and not server.requests


def test_the_judge_and_trulens_are_part_of_what_a_score_is_known_by() -> None:
    one, other = (TruLensJudge(metric="groundedness", judge=Echo(name=name)) for name in ("a", "b"))
    assert one.identity != other.identity
    assert one.fingerprint()["trulens"].startswith("2.")


def test_context_relevance_does_not_depend_on_the_answer() -> None:
    assert "answer" not in TruLensJudge(metric="context_relevance", judge=Echo()).reads


def test_a_model_that_reads_no_messages_cannot_judge() -> None:
    [problem] = TruLensJudge(metric="groundedness", judge=Extractive()).problems()
    assert "choose a chat model" in problem
