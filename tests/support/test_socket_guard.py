"""The guard that keeps tests off the network does its work."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]


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


def test_a_datagram_is_refused_too(outside: list[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender, pytest.raises(PermissionError, match="loopback"):
        sender.sendto(b"x", ("192.0.2.1", 53))
    outside.clear()


def test_a_swallowed_refusal_fails_the_test_all_the_same(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeconftest((ROOT / "tests" / "conftest.py").read_text())
    pytester.makepyfile(
        """
        import contextlib, socket

        def test_swallows():
            with contextlib.suppress(Exception):
                socket.create_connection(("192.0.2.1", 80), timeout=1)

        def test_is_innocent():
            pass
        """
    )
    run = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    run.assert_outcomes(passed=2, errors=1)
    run.stdout.fnmatch_lines(["*tried to reach beyond loopback*192.0.2.1*"])
