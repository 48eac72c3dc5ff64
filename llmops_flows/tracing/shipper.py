"""A process beside this one that delivers traces, so that no answer ever waits for an exporter or its imports."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from typing import IO, Any

from llmops_flows.core.plural import plural

_PATIENCE = 1.5
"""Seconds that `close` waits for word from the other process."""
_AGAIN = 60.0
"""Seconds before a process that ended early is started once more."""
_REST = "Those that do not arrive are kept"
QUIET = {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"}
"""The process that delivers traces makes none."""


class Shipper:
    """Starts the process when there is first something to deliver; wakes it when there is more.

    The process learns by the end of its standard input that this one is gone, however it went; it then delivers what
    was written, within seconds, and ends. What could not be delivered is told once for each exporter, as a warning.

    Args:
        config: what the process needs to build the exporters and to open the outbox, as plain data.
        exporters: their names.
    """

    def __init__(self, config: Mapping[str, Any], exporters: Iterable[str]) -> None:
        self._exporters = frozenset(exporters)
        self._config = json.dumps(config).encode() + b"\n"
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._listener: threading.Thread | None = None
        self._not_before = 0.0
        self._warned: set[str] = set()
        self._said: dict[str, dict[str, Any]] = {}

    def start(self) -> None:
        """Have the process ready; its imports take longer than many an answer."""
        with self._lock:
            if self._process is None and time.monotonic() >= self._not_before:
                self._not_before = time.monotonic() + _AGAIN
                self._spawn()

    def wake(self) -> None:
        """There are traces to deliver. Never blocks."""
        self.start()
        with self._lock:
            self._send(b"\n")

    def close(self) -> None:
        """Say that nothing more comes, and hear for a moment what became of it. The process ends by itself."""
        with self._lock:
            process, self._process = self._process, None
        if process is None or self._listener is None:
            return
        _shut(process.stdin)
        self._listener.join(_PATIENCE)
        if self._listener.is_alive():
            for name in sorted(self._exporters - self._warned):
                if self._said.get(name, {"waiting": 1})["waiting"]:
                    self._warn(name, f"{name}: traces are still being delivered, in the background", _REST)

    def _spawn(self) -> None:
        command = [sys.executable, "-m", __name__.partition(".")[0], "ship", "--follow"]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                start_new_session=True, env={**os.environ, **QUIET},
            )  # fmt: skip
        except OSError as error:
            self._warn("process", f"the process that delivers traces cannot be started: {error}")
            return
        assert self._process.stdin is not None and self._process.stdout is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        self._listener = threading.Thread(
            target=self._listen, args=(self._process,), name="llmops-flows-shipper", daemon=True
        )
        self._listener.start()
        self._send(self._config)

    def _send(self, data: bytes) -> None:
        if self._process is None or self._process.stdin is None:
            return
        try:
            os.write(self._process.stdin.fileno(), data)
        except BlockingIOError:
            pass  # it was woken often enough
        except OSError:
            _shut(self._process.stdin)
            self._process = None

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """Hear what was delivered, until the process ends; then it is no zombie either."""
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                said = json.loads(line)
                self._said[said["exporter"]] = said
                if said["error"]:
                    wait = plural(said["waiting"], "trace waits", "traces wait")
                    self._warn(said["exporter"], f"{said['exporter']}: {wait}: {said['error']}")
        if process.wait() != 0:
            self._warn("process", f"the process that delivers traces ended with {process.returncode}")

    def _warn(self, topic: str, message: str, rest: str = "They are kept") -> None:
        if topic not in self._warned:
            self._warned.add(topic)
            how = "go out at the next start or by `python -m llmops_flows ship`"
            logging.getLogger("llmops_flows").warning("%s. %s, and %s", message, rest, how)


def _shut(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        try:
            pipe.close()
        except OSError:
            pass
