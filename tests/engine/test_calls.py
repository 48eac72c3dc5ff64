"""A flow that asks real servers: bounded, obedient, with an answer wherever there can be one, and clear errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest

from llmops_flows import BackendError, DeadlineExceeded, Fallback, Flow, Record, Runner
from llmops_flows.calls import retry
from llmops_flows.calls.gate import Gate
from llmops_flows.components.model.echo import Echo
from llmops_flows.core.limits import Limits
from llmops_flows.stores.memory_store import MemoryStore
from llmops_flows.testing.clock import FakeClock
from tests.support.http_models import HELLO, Blocking, Chat, Quote, chat, span
from tests.support.http_server import ReceivedRequest, StubResponse, StubServer
from tests.support.stub_stages import Guard, Length, question_records

QUOTA = StubResponse(429, body={"error": {"code": "insufficient_quota", "message": "no money"}})
HANGS = StubResponse(hang=True)


@pytest.fixture
def runner() -> Iterator[Runner]:
    with Runner(gate=Gate(clock=FakeClock())) as runner:
        yield runner


def ask(runner: Runner, flow: Flow, *questions: str) -> list[Record]:
    return runner.run(flow, question_records(*(questions or ("a",))))


# -- how often --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Chat, Blocking])
@pytest.mark.parametrize(
    ("reply", "requests"),
    [
        (StubResponse(500), 3),
        (StubResponse(503), 3),
        (StubResponse(429), 3),
        (StubResponse(429, headers={"Retry-After": "1"}), 3),
        (QUOTA, 1),
        *((StubResponse(status), 1) for status in (400, 401, 403, 404, 422)),
    ],
    ids=str,
)
def test_a_server_that_always_fails_is_asked_three_times_at_most(
    runner: Runner, kind: type[Chat], reply: StubResponse, requests: int
) -> None:
    with StubServer(reply) as server:
        [record] = ask(runner, chat(kind(url=server.url)))
    assert isinstance(record.error, BackendError)
    assert (record.error.status, record.error.stage) == (reply.status, "model")
    assert len(server.requests) == requests


def test_a_connection_that_breaks_is_tried_again(runner: Runner) -> None:
    with StubServer(StubResponse(cut=True), HELLO) as server:
        [record] = ask(runner, chat(Chat(url=server.url)))
    assert record.answer == "hello"
    assert span(record).notes == {"model": "chat", "attempts": 2}


def test_a_missing_server_is_a_clear_error(runner: Runner) -> None:
    with StubServer() as server:
        url = server.url
    [record] = ask(runner, chat(Chat(url=url)))
    assert "chat: ConnectError (3 attempts)" in str(record.error)


def test_with_fallbacks_of_fallbacks_six_requests_are_the_most(runner: Runner) -> None:
    with (
        StubServer(StubResponse(500)) as one,
        StubServer(StubResponse(500)) as two,
        StubServer(StubResponse(500)) as three,
    ):
        last = Chat(url=three.url, name="three")
        middle = Chat(url=two.url, name="two", fallback=last)
        [record] = ask(runner, chat(Chat(url=one.url, name="one", fallback=middle)))
    assert [len(server.requests) for server in (one, two, three)] == [3, 3, 0]
    assert "then its fallback two: answered 500 (3 attempts)" in str(record.error)
    assert "too many requests of this call failed (at most 3 to a backend and 6 in all)" in str(record.error)


def test_nested_fallbacks_send_at_most_six_requests() -> None:
    with (
        StubServer(StubResponse(500)) as one,
        StubServer(StubResponse(503)) as two,
        StubServer(StubResponse(500)) as three,
    ):
        servers = (one, two, three)
        models = {
            f"m{n}": Chat(url=s.url, name=f"m{n}", fallback=Chat(url=s.url + "/other", name=f"f{n}"))
            for n, s in enumerate(servers)
        }
        inner = Fallback(stages={"a": models["m0"], "b": models["m1"]})
        flow = chat(Fallback(stages={"inner": inner, "c": models["m2"]}), guard=Guard(wants="please"))
        with Runner(store=MemoryStore(), gate=Gate(clock=FakeClock())) as runner:
            [record] = runner.run(flow, question_records("a"), evaluators={"length": Length()})
    assert isinstance(record.error, BackendError)
    assert sum(len(server.requests) for server in servers) == 6


def test_two_models_at_one_backend_share_its_three_requests(runner: Runner) -> None:
    with StubServer(StubResponse(500)) as server:
        [record] = ask(runner, chat(Chat(url=server.url, fallback=Chat(url=server.url, temperature=0.1, seed=1))))
    assert isinstance(record.error, BackendError)
    assert len(server.requests) == 3


def test_retries_around_the_flow_do_not_multiply_the_requests() -> None:
    from llmops_flows.integrations.langchain.runnable import FlowRunnable

    with StubServer(StubResponse(500)) as server, Runner(gate=Gate(clock=FakeClock())) as runner:
        app = FlowRunnable(chat(Chat(url=server.url)), runner).with_retry(
            stop_after_attempt=4, wait_exponential_jitter=False
        )
        with pytest.raises(BackendError, match="is not called for"):
            app.invoke("a")
    assert len(server.requests) == 5


async def test_a_graph_around_the_flow_does_not_multiply_the_requests() -> None:
    from langgraph.graph import END, START, StateGraph
    from langgraph.types import RetryPolicy
    from typing_extensions import TypedDict

    from llmops_flows.integrations.langchain.runnable import FlowRunnable

    class State(TypedDict, total=False):
        question: str
        answer: str

    with StubServer(StubResponse(429)) as server, Runner(gate=Gate(clock=FakeClock())) as runner:
        graph: Any = StateGraph(State)
        patience = RetryPolicy(initial_interval=0.01, max_attempts=4)
        graph.add_node("rag", FlowRunnable(chat(Chat(url=server.url)), runner), retry_policy=patience)
        graph.add_edge(START, "rag")
        graph.add_edge("rag", END)
        with pytest.raises(BackendError):
            await graph.compile().ainvoke({"question": "a"})
    assert len(server.requests) <= 6


def test_a_known_answer_sends_no_request(runner: Runner) -> None:
    with StubServer(HELLO) as server, Runner(store=MemoryStore(), gate=Gate(clock=FakeClock())) as keeping:
        flow = chat(Chat(url=server.url, limits=Limits(requests_per_minute=0.1)))
        begun = keeping.context.gate.clock.now()
        for _ in range(50):
            [record] = ask(keeping, flow)
        assert (record.answer, len(server.requests)) == ("hello", 1)
        assert keeping.context.gate.clock.now() == begun


# -- who answered --------------------------------------------------------------------------------------------


def test_the_answer_says_which_model_gave_it(runner: Runner) -> None:
    with StubServer(StubResponse(500)) as dead, StubServer(StubResponse(500), HELLO) as alive:
        model = Chat(url=dead.url, name="first", fallback=Chat(url=alive.url, name="second"))
        [record] = ask(runner, chat(model))
    assert record.answer == "hello"
    assert span(record).notes == {
        "model": "second",
        "attempts": 2,
        "fallback_for": "first",
        "fallback_reason": "answered 500 (3 attempts)",
    }


def test_a_fallback_that_blocks_and_reads_other_slots_answers_too(runner: Runner) -> None:
    with StubServer(StubResponse(400)) as server:
        [record] = ask(runner, chat(Chat(url=server.url, fallback=Quote())), "why")
    assert record.answer == "it says: why"
    assert span(record).notes["model"] == "quote"


def test_the_answer_of_a_fallback_is_not_stored() -> None:
    store = MemoryStore()
    with StubServer(StubResponse(400), StubResponse(body={"text": "from the first"})) as server:
        flow = chat(Chat(url=server.url, fallback=Echo()))
        for expected in ("Answer: a (1)", "from the first", "from the first"):
            with Runner(store=store, gate=Gate(clock=FakeClock())) as runner:
                assert ask(runner, flow)[0].answer == expected
    assert len(server.requests) == 2


def test_an_error_in_the_code_of_a_model_is_not_hidden_by_its_fallback(runner: Runner) -> None:
    with StubServer(StubResponse(body={"no": "text"})) as server:
        [record] = ask(runner, chat(Chat(url=server.url, fallback=Echo())))
    assert "KeyError" in str(record.error)


# -- a dead primary --------------------------------------------------------------------------------------------


def test_a_dead_primary_costs_five_requests_and_one_per_cool_down_and_is_used_again_when_it_recovers() -> None:
    clock = FakeClock()
    begun = clock.now()
    answers: list[str] = []

    def primary(_: ReceivedRequest) -> StubResponse:
        return HELLO if clock.now() - begun >= 60 else StubResponse(500)

    with StubServer(primary) as dead, StubServer(StubResponse(body={"text": "from the second"})) as alive:
        model = Chat(url=dead.url, name="first", fallback=Chat(url=alive.url, name="second"))
        with Runner(gate=Gate(clock=clock)) as runner:
            for n in range(200):
                clock.time += n % 3
                [record] = ask(runner, chat(model), f"q{n}")
                answers.append(span(record).notes["model"])
                if answers[-1] == "first":
                    break
    assert len(dead.requests) <= 5 + 3
    assert 60 <= clock.now() - begun <= 100
    assert set(answers[:-1]) == {"second"} and answers[-1] == "first"


# -- how fast --------------------------------------------------------------------------------------------


class Counted:
    """A server that allows so many requests in any window of seconds, and counts those that come too early."""

    def __init__(self, most: int, window: float) -> None:
        self.most, self.window = most, window
        self.at: list[float] = []
        self.early = 0

    def __call__(self, asked: ReceivedRequest) -> StubResponse:
        recent = [at for at in self.at if at > asked.at - self.window]
        if len(recent) >= self.most:
            self.early += 1
            return StubResponse(429, headers={"Retry-After": str(self.window)})
        self.at.append(asked.at)
        return HELLO


def test_a_rate_is_used_to_the_full_and_never_exceeded() -> None:
    counted = Counted(most=10, window=0.96)  # ten in a second, seen through the jitter of a busy machine
    with StubServer(counted) as server, Runner(gate=Gate()) as runner:
        flow = chat(Chat(url=server.url, limits=Limits(requests_per_minute=600)))
        records = ask(runner, flow, *(f"q{n}" for n in range(30)))
    assert all(record.answer == "hello" for record in records)
    assert counted.early == 0
    assert 29 / (counted.at[-1] - counted.at[0]) >= 0.85 * 10  # test_gate shows the 95 % by a clock without jitter


@pytest.mark.parametrize("header", ["1", "0.4", "date", "soon", "-1"])
def test_no_request_is_sent_before_the_pause_of_the_service_is_over(header: str) -> None:
    told: list[float] = []

    def turn_away_first(asked: ReceivedRequest) -> StubResponse:
        if told:
            return HELLO
        told.append(asked.at)
        value = formatdate(time.time() + 2, usegmt=True) if header == "date" else header
        return StubResponse(429, headers={"Retry-After": value})

    with StubServer(turn_away_first) as server, Runner(gate=Gate()) as runner:
        flow = chat(Chat(url=server.url, limits=Limits(timeout=10)))
        [record] = ask(runner, flow)
    waited = server.requests[1].at - told[0]
    assert record.answer == "hello"
    assert waited >= {"1": 1.0, "0.4": 0.4, "date": 0.95}.get(header, retry.FIRST_PAUSE / 2)
    assert waited < {"1": 1.3, "date": 2.3}.get(header, 0.8)


@pytest.mark.parametrize("seconds", [90, 600, 10**12])
def test_a_retry_after_beyond_the_timeout_fails_at_once(seconds: int) -> None:
    with StubServer(StubResponse(429, headers={"Retry-After": str(seconds)})) as server, Runner(gate=Gate()) as runner:
        begun = time.monotonic()
        [record] = ask(runner, chat(Chat(url=server.url, limits=Limits(timeout=60))))
        assert time.monotonic() - begun < 0.5
    assert f"requires a pause of {min(seconds, retry.DAY):.3g} s" in str(record.error)
    assert len(server.requests) == 1


# -- how long --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Chat, Blocking])
def test_a_call_of_a_hanging_server_ends_at_the_deadline(kind: type[Chat]) -> None:
    with StubServer(HANGS) as server, Runner(gate=Gate()) as runner:
        begun = time.monotonic()
        [record] = ask(runner, chat(kind(url=server.url, limits=Limits(timeout=0.5))))
        took = time.monotonic() - begun
    assert isinstance(record.error, DeadlineExceeded)
    assert 0.45 <= took <= 0.6


def test_a_hanging_primary_leaves_its_fallback_the_fallbacks_own_time() -> None:
    with StubServer(HANGS) as server, Runner(gate=Gate()) as runner:
        [record] = ask(runner, chat(Chat(url=server.url, limits=Limits(timeout=0.2), fallback=Echo())))
    assert record.answer == "Answer: a (1)"
    assert "did not answer within 0.2 s" in span(record).notes["fallback_reason"]


def test_a_slow_stream_ends_at_the_deadline_though_pieces_come() -> None:
    with StubServer(StubResponse(pieces=["x"] * 100, every=0.05)) as server, Runner(gate=Gate()) as runner:
        begun = time.monotonic()
        [record] = ask(runner, chat(Chat(url=server.url, streams=True, limits=Limits(timeout=0.4))))
        assert time.monotonic() - begun < 0.5
    assert isinstance(record.error, DeadlineExceeded)


def test_time_in_the_queue_does_not_count_into_the_latency() -> None:
    with StubServer(StubResponse(pieces=["a", "b"], every=0.1)) as server, Runner(gate=Gate()) as runner:
        flow = chat(Chat(url=server.url, streams=True, limits=Limits(parallel=2)))
        ask(runner, flow, "the first call, which also loads the client")
        started = time.monotonic()
        records = ask(runner, flow, *(f"q{n}" for n in range(8)))
        assert time.monotonic() - started > 0.75
    assert server.max_active == 2
    assert all(0.19 <= span(record).seconds < 0.6 for record in records)
    assert all(span(record).first_token < 0.5 for record in records)


async def test_the_work_of_many_loops_goes_through_one_gate() -> None:
    with StubServer(HELLO) as server, Runner(gate=Gate()) as runner:
        flow = chat(Chat(url=server.url, limits=Limits(parallel=1)))

        def elsewhere(n: int) -> Any:
            return asyncio.run(runner.arun(flow, question_records(f"q{n}")))[0].answer

        assert await asyncio.gather(*(asyncio.to_thread(elsewhere, n) for n in range(4))) == ["hello"] * 4
    assert server.max_active == 1
