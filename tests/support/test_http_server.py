"""The HTTP server of the tests sends what is scripted, and never outlives its block."""

from __future__ import annotations

import threading
import time

import httpx
import pytest

from tests.support.http_server import ReceivedRequest, StubResponse, StubServer


def test_replies_are_sent_in_order_and_the_last_one_repeats() -> None:
    with StubServer(StubResponse(429, headers={"Retry-After": "1"}), StubResponse(body={"text": "yes"})) as server:
        first, *others = (httpx.post(server.url + "/v1/chat", json={"n": n}) for n in range(3))
    assert (first.status_code, first.headers["retry-after"]) == (429, "1")
    assert [other.json() for other in others] == [{"text": "yes"}] * 2
    assert [(request.path, request.body) for request in server.requests] == [("/v1/chat", {"n": n}) for n in range(3)]


def test_a_reply_can_be_a_function_of_the_request() -> None:
    def shout(request: ReceivedRequest) -> StubResponse:
        return StubResponse(body=str(request.body["say"]).upper())

    with StubServer(shout) as server:
        assert httpx.post(server.url, json={"say": "hello"}).text == "HELLO"


def test_pieces_are_sent_as_events() -> None:
    with StubServer(StubResponse(pieces=[{"n": 1}, "[DONE]"])) as server:
        assert httpx.get(server.url).text.split("\n\n") == ['data: {"n": 1}', "data: [DONE]", ""]


def test_a_piece_arrives_before_the_next_one_is_sent() -> None:
    reply = StubResponse(pieces=["first", "second"], every=600)
    with StubServer(reply) as server, httpx.stream("GET", server.url, timeout=30) as answer:
        assert next(answer.iter_lines()) == "data: first"


@pytest.mark.parametrize("reply", [StubResponse(cut=True), StubResponse(pieces=["a"], cut=True)])
def test_a_cut_connection_is_a_transport_error(reply: StubResponse) -> None:
    with StubServer(reply) as server, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(server.url)


@pytest.mark.parametrize(
    "reply", [StubResponse(hang=True), StubResponse(delay=60), StubResponse(pieces=["a"], stall=True)]
)
def test_a_hanging_request_ends_with_the_server(reply: StubResponse) -> None:
    threads = threading.active_count()
    with StubServer(reply) as server, pytest.raises(httpx.ReadTimeout):
        httpx.get(server.url, timeout=0.2)
    until = time.monotonic() + 2
    while threading.active_count() > threads and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() <= threads


def test_a_server_hangs_up_after_its_limit() -> None:
    with StubServer(limit=1) as server:
        assert httpx.get(server.url).status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(server.url)
