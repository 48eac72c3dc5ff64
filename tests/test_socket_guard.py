"""The guard that keeps tests off the network does its work."""

from __future__ import annotations

import socket

import pytest


def test_a_connection_beyond_loopback_is_refused_and_noted(outside: list[str]) -> None:
    with pytest.raises(PermissionError, match="loopback only"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    assert outside
    outside.clear()


def test_a_name_is_not_even_looked_up(outside: list[str]) -> None:
    with pytest.raises(PermissionError, match=r"example\.org"):
        socket.getaddrinfo("example.org", 80)
    assert outside == ["socket.getaddrinfo example.org"]
    outside.clear()


def test_loopback_is_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass
