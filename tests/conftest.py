"""For every test: no network except loopback, no API keys, a separate home folder, quiet libraries."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.store_servers import postgres_server, redis_server

__all__ = ["postgres_server", "redis_server"]  # fixtures

QUIET = {
    "ANONYMIZED_TELEMETRY": "False",
    "HF_HUB_OFFLINE": "1",
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "OTEL_SDK_DISABLED": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_OFFLINE": "1",
}
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "LANGSMITH_API_KEY", "LANGCHAIN_API_KEY", "PROMPTLAYER_API_KEY")
os.environ.update(QUIET)
# A proxy on loopback would forward calls to the network.
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
for key in (*KEYS, *PROXIES):
    os.environ.pop(key, None)

_outside: list[str] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        host = arguments[1][0] if isinstance(arguments[1], tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if host is not None and not _loopback(host):
        _outside.append(f"{event} {host}")
        raise PermissionError(f"tests talk to loopback only, not to {host!r}")


def _loopback(host: Any) -> bool:
    if host in ("localhost", b"localhost", "", "0.0.0.0"):
        return True
    try:
        return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host).is_loopback
    except ValueError:
        return False


sys.addaudithook(_watch)


@pytest.fixture
def outside() -> list[str]:
    """Attempted connections beyond loopback; a test that makes them on purpose clears the list."""
    return _outside


@pytest.fixture(autouse=True)
def no_network() -> Iterator[None]:
    """A connection beyond loopback fails the test, even if the code under test catches the error."""
    between, _outside[:] = list(_outside), []
    assert not between, f"tried to reach beyond loopback while importing or between tests: {between}"
    yield
    tried = list(_outside)
    _outside.clear()
    assert not tried, f"tried to reach beyond loopback: {tried}"


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate home folder for each test."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("LLMOPS_FLOWS_HOME", str(folder))
    return folder
