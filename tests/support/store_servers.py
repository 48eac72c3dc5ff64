"""Real Redis and PostgreSQL servers for tests, each on a free loopback port and started once per session."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .required import missing

PROGRAM_FOLDERS = [*sorted(Path("/usr/lib/postgresql").glob("*/bin")), *map(Path, os.get_exec_path())]
POSTGRES = next((folder for folder in reversed(PROGRAM_FOLDERS) if (folder / "initdb").is_file()), None)
REDIS = shutil.which("redis-server")


class StoreServer:
    """A server that can be killed and started again on the same port with the same data."""

    name = ""
    url_env = ""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir="/tmp"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    @property
    def url(self) -> str:
        raise NotImplementedError

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> StoreServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class RedisServer(StoreServer):
    """A Redis server that writes every command to disk before it responds."""

    name = "redis"
    url_env = "REDIS_URL"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        if REDIS is None:
            missing("redis-server", "Redis is not installed")
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]
        self.process = subprocess.Popen(
            [REDIS, *options, "--appendfsync", "always", "--dir", str(self.folder)], stdout=subprocess.DEVNULL
        )
        _wait_until_listening(self.port)

    def stop(self) -> None:
        """Kill the server."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)


class PostgresServer(StoreServer):
    """A PostgreSQL cluster in a temporary folder, run by a user other than root."""

    name = "postgres"
    url_env = "DATABASE_URL"

    def __init__(self) -> None:
        if POSTGRES is None:
            missing("postgresql", "PostgreSQL is not installed")
        super().__init__()
        account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
        if account:
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.options: dict[str, Any] = {"cwd": self.folder, "timeout": 60, "check": True, **quiet, **user}
        self._run("initdb", "-U", "flows", "-A", "trust", "-N")

    @property
    def url(self) -> str:
        return f"postgresql://flows@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        settings = f"-h 127.0.0.1 -p {self.port} -k {self.folder} -F"
        self._run("pg_ctl", "-o", settings, "-l", str(self.folder / "log"), "-w", "start")

    def stop(self) -> None:
        """Stop the server at once, with open connections."""
        self._run("pg_ctl", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        assert POSTGRES is not None
        subprocess.run([POSTGRES / program, "-D", self.folder / "data", *arguments], **self.options)


def _wait_until_listening(port: int) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise TimeoutError(f"no server listens on port {port}")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[StoreServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[StoreServer]:
    with PostgresServer() as server:
        yield server
