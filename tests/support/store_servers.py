"""Real servers for the tests of stores, each on a free port of loopback, gone when the block ends."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from .required import missing

PROGRAMS = [*sorted(Path("/usr/lib/postgresql").glob("*/bin")), *map(Path, os.get_exec_path())]
POSTGRES = next((folder for folder in reversed(PROGRAMS) if (folder / "initdb").is_file()), None)
REDIS = shutil.which("redis-server")


class StoreServer:
    """A server that can be stopped, killed and started again on its port, with what it held."""

    name = ""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir="/tmp"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

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
    """Keeps every write at once, as a server would that is meant to keep it."""

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
        _listening(self.port)

    def stop(self) -> None:
        """Killed, not asked."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)


class PostgresServer(StoreServer):
    """A cluster of its own, run by a user that is not root."""

    name = "postgres"
    url_env = "DATABASE_URL"

    def __init__(self) -> None:
        if POSTGRES is None:
            missing("postgresql", "PostgreSQL is not installed")
        super().__init__()
        account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
        if account:
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.options: dict[str, Any] = {"cwd": self.folder, "timeout": 60, "check": True, **quiet, **who}
        self._run("initdb", "-U", "flows", "-A", "trust", "-N")

    @property
    def url(self) -> str:
        return f"postgresql://flows@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        settings = f"-h 127.0.0.1 -p {self.port} -k {self.folder} -F"
        self._run("pg_ctl", "-o", settings, "-l", str(self.folder / "log"), "-w", "start")

    def stop(self) -> None:
        """At once: whoever is connected is cut off."""
        self._run("pg_ctl", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        assert POSTGRES is not None
        subprocess.run([POSTGRES / program, "-D", self.folder / "data", *arguments], **self.options)


def _listening(port: int) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise TimeoutError(f"no server listens on port {port}")
