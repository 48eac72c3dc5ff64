"""Whoever stops waiting is let go at once, in every phase of a call, and no further call is made for them."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops_flows import Runner
from llmops_flows.calls.gate import Gate
from llmops_flows.integrations.langchain.runnable import FlowRunnable
from llmops_flows.stores.sqlite_store import SQLiteStore
from tests.support.http_models import HELLO, Chat, chat, span
from tests.support.http_server import StubResponse, StubServer
from tests.support.interrupted_run import PHASES, flow
from tests.support.stub_stages import question_records

ROOT = Path(__file__).parents[2]
REPLIES = {
    "rate": HELLO,
    "place": StubResponse(hang=True),
    "backoff": StubResponse(500),
    "retry-after": StubResponse(503, headers={"Retry-After": "20"}),
    "request": StubResponse(hang=True),
    "thread": StubResponse(hang=True),
    "stream": StubResponse(pieces=["piece"] * 500, every=0.02),
}


def until(condition: object, seconds: float = 20.0) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)


def requests(server: StubServer, phase: str) -> int:
    """What must have been asked before the call is in that phase."""
    return 2 if phase not in ("rate", "place", "stream", "thread") else 1


@pytest.fixture(params=[phase for phase in PHASES if phase != "stream"])
def phase(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "answers.sqlite")
    yield store
    store.close()


def goes_on(store: SQLiteStore) -> None:
    """What was done is kept, and nothing is held back from the next run."""
    with StubServer(HELLO) as healthy, Runner(store=store, gate=Gate()) as runner:
        begun = time.monotonic()
        records = runner.run(chat(Chat(url=healthy.url)), question_records("a", "b"))
        assert time.monotonic() - begun < 1.5
    assert [record.answer for record in records] == ["hello", "hello"]
    assert {span(record, "retrieve").state for record in records} == {"known"}


async def test_a_cancelled_task_comes_back_at_once(phase: str, store: SQLiteStore) -> None:
    with StubServer(REPLIES[phase]) as server, Runner(store=store, gate=Gate(chance=lambda: 1.0)) as runner:
        task = asyncio.create_task(runner.arun(flow(phase, server.url), question_records("a", "b")))
        await asyncio.to_thread(until, lambda: len(server.requests) >= requests(server, phase))
        await asyncio.sleep(0.05)
        before, begun = len(server.requests), time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - begun < 0.5
        if phase == "thread":  # a request that its thread is just sending still arrives
            await asyncio.sleep(0.15)
            before = len(server.requests)
        await asyncio.sleep(0.7 if phase == "backoff" else 0.2)
        assert len(server.requests) == before
    goes_on(store)


async def test_a_timeout_around_a_run_holds() -> None:
    with StubServer(StubResponse(hang=True)) as server, Runner(gate=Gate()) as runner:
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await runner.arun(flow("request", server.url), question_records("a"))
        assert time.monotonic() - begun < 0.5
        await asyncio.to_thread(until, lambda: server.requests)


def test_ctrl_c_comes_back_at_once(phase: str, store: SQLiteStore, tmp_path: Path) -> None:
    with StubServer(REPLIES[phase]) as server:
        came_back, after = interrupt(phase, server, tmp_path)
    assert came_back <= 0.5
    assert after < 1.5
    goes_on(store)


def test_ctrl_c_while_a_stream_is_read_comes_back_at_once(tmp_path: Path) -> None:
    with StubServer(REPLIES["stream"]) as server:
        came_back, after = interrupt("stream", server, tmp_path)
        until(lambda: server.disconnects == 1)
    assert came_back <= 0.5
    assert after < 1.5


def interrupt(phase: str, server: StubServer, folder: Path) -> tuple[float, float]:
    """Press Ctrl-C in a process that is in the phase: how soon it came back, and how soon it was gone."""
    command = [sys.executable, "-m", "tests.support.interrupted_run", phase, server.url, str(folder)]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: len(server.requests) >= requests(server, phase) or child.poll() is not None)
        time.sleep(0.1)
        before, begun = len(server.requests), time.monotonic()
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=20)
        after = time.monotonic() - begun
    finally:
        child.kill()
    assert err == ""
    assert len(server.requests) <= before + (2 if phase == "thread" else 0)  # what threads were just sending arrives
    return float(out), after


def test_a_reader_who_leaves_a_stream_ends_the_call() -> None:
    with StubServer(REPLIES["stream"]) as server, Runner(gate=Gate()) as runner:
        pieces = FlowRunnable(flow("stream", server.url), runner).stream("a")
        assert next(pieces)["answer"] == "piece"
        begun = time.monotonic()
        pieces.close()  # type: ignore[attr-defined]
        assert time.monotonic() - begun < 0.5
        until(lambda: server.disconnects == 1)


async def test_a_reader_who_leaves_an_asynchronous_stream_ends_the_call() -> None:
    with StubServer(REPLIES["stream"]) as server, Runner(gate=Gate()) as runner:
        pieces = FlowRunnable(flow("stream", server.url), runner).astream("a")
        assert (await anext(pieces))["answer"] == "piece"
        begun = time.monotonic()
        await pieces.aclose()  # type: ignore[attr-defined]
        assert time.monotonic() - begun < 0.5
        await asyncio.to_thread(until, lambda: server.disconnects == 1)


async def test_a_cancelled_reader_of_a_stream_ends_the_call() -> None:
    with StubServer(REPLIES["stream"]) as server, Runner(gate=Gate()) as runner:

        async def read() -> None:
            async for _ in FlowRunnable(flow("stream", server.url), runner).astream("a"):
                pass

        task = asyncio.create_task(read())
        await asyncio.to_thread(until, lambda: server.requests)
        await asyncio.sleep(0.05)
        begun = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - begun < 0.5
        await asyncio.to_thread(until, lambda: server.disconnects == 1)


# -- streams and second tries ------------------------------------------------------------------------------------


def test_a_stream_that_breaks_off_is_not_begun_again_before_a_reader() -> None:
    with StubServer(StubResponse(pieces=["one", "two"], cut=True)) as server, Runner(gate=Gate()) as runner:
        pieces = FlowRunnable(flow("stream", server.url), runner).stream("a")
        assert [next(pieces)["answer"], next(pieces)["answer"]] == ["one", "two"]
        with pytest.raises(Exception, match="RemoteProtocolError"):
            next(pieces)
    assert len(server.requests) == 1


def test_a_stream_that_fails_before_its_first_piece_is_tried_again() -> None:
    with StubServer(StubResponse(503), StubResponse(pieces=["one", "two"])) as server, Runner(gate=Gate()) as runner:
        pieces = list(FlowRunnable(flow("stream", server.url), runner).stream("a"))
    assert "".join(piece.get("answer", "") for piece in pieces) == "onetwo"
    assert len(server.requests) == 2


def test_where_nobody_reads_along_an_answer_that_broke_off_is_asked_for_again() -> None:
    with (
        StubServer(StubResponse(pieces=["one"], cut=True), StubResponse(pieces=["one", "two"])) as server,
        Runner(gate=Gate()) as runner,
    ):
        [record] = runner.run(flow("stream", server.url), question_records("a"))
    assert record.answer == "onetwo"
    assert span(record).notes["attempts"] == 2
