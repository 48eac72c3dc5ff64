"""The server of the tests does what it is told, and never outlives its block."""

from __future__ import annotations

import threading
import time

import httpx
import pytest

from tests.support.servers import Asked, Reply, Server


def test_replies_come_in_order_and_the_last_for_ever() -> None:
    with Server(Reply(429, headers={"Retry-After": "1"}), Reply(body={"text": "yes"})) as server:
        first, *others = (httpx.post(server.url + "/v1/chat", json={"n": n}) for n in range(3))
    assert (first.status_code, first.headers["retry-after"]) == (429, "1")
    assert [other.json() for other in others] == [{"text": "yes"}] * 2
    assert [(asked.path, asked.body) for asked in server.asked] == [("/v1/chat", {"n": n}) for n in range(3)]


def test_a_reply_can_be_worked_out_from_the_request() -> None:
    def shout(asked: Asked) -> Reply:
        return Reply(body=str(asked.body["say"]).upper())

    with Server(shout) as server:
        assert httpx.post(server.url, json={"say": "hello"}).text == "HELLO"


def test_pieces_are_sent_as_they_come() -> None:
    with Server(Reply(pieces=[{"n": 1}, "[DONE]"], every=0.1)) as server:
        begun, seen = time.monotonic(), list[tuple[str, float]]()
        with httpx.stream("GET", server.url) as answer:
            seen.extend((line, time.monotonic() - begun) for line in answer.iter_lines() if line)
    assert [line for line, _ in seen] == ['data: {"n": 1}', "data: [DONE]"]
    assert seen[0][1] < 0.1 <= seen[1][1]


@pytest.mark.parametrize("reply", [Reply(cut=True), Reply(pieces=["a"], cut=True)])
def test_a_cut_connection_is_an_error_of_the_transport(reply: Reply) -> None:
    with Server(reply) as server, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(server.url)


@pytest.mark.parametrize("reply", [Reply(hang=True), Reply(delay=60), Reply(pieces=["a"], stall=True)])
def test_a_hanging_request_ends_with_the_server(reply: Reply) -> None:
    threads = threading.active_count()
    with Server(reply) as server, pytest.raises(httpx.ReadTimeout):
        httpx.get(server.url, timeout=0.2)
    until = time.monotonic() + 2
    while threading.active_count() > threads and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() <= threads


def test_a_server_hangs_up_after_its_limit() -> None:
    with Server(limit=1) as server:
        assert httpx.get(server.url).status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(server.url)
