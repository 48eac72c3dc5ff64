"""Starts the process that delivers traces, so that no answer waits for an exporter or its imports."""

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

_CLOSE_SECONDS = 1.5
"""Seconds that `close` waits for the outcome of the last delivery."""
_RESTART_SECONDS = 60.0
"""Minimum seconds between two starts of the process."""
QUIET = {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"}
"""Environment variables that keep the process from tracing its own calls."""


class DeliveryProcess:
    """The process `llmops_flows ship --follow`: started for the first trace to deliver, and woken for each later one.

    When this process ends, for any reason, the standard input of the delivery process ends. It then delivers the
    pending traces, within seconds, and exits. The first failure of each exporter is logged as a warning.

    Args:
        config: the config of the exporters and the outbox, as plain data.
        exporters: the names of the exporters.
    """

    def __init__(self, config: Mapping[str, Any], exporters: Iterable[str]) -> None:
        self._exporters = frozenset(exporters)
        self._config = json.dumps(config).encode() + b"\n"
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._listener: threading.Thread | None = None
        self._not_before = 0.0
        self._warned: set[str] = set()
        self._outcomes: dict[str, dict[str, Any]] = {}

    def start(self) -> None:
        """Start the process before the first delivery, since its imports are slow."""
        with self._lock:
            if self._process is None and time.monotonic() >= self._not_before:
                self._not_before = time.monotonic() + _RESTART_SECONDS
                self._spawn()

    def wake(self) -> None:
        """Signal the process that traces are pending. Does not block."""
        self.start()
        with self._lock:
            self._send(b"\n")

    def close(self) -> None:
        """Signal the process that no further traces follow, and wait briefly for the outcome. It then exits."""
        with self._lock:
            process, self._process = self._process, None
        if process is None or self._listener is None:
            return
        _close_pipe(process.stdin)
        self._listener.join(_CLOSE_SECONDS)
        if self._listener.is_alive():
            for name in sorted(self._exporters - self._warned):
                if self._outcomes.get(name, {"pending": 1})["pending"]:
                    message = f"{name}: traces are still being delivered in the background"
                    self._warn(name, message, "Those that do not arrive are kept")

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
            target=self._listen, args=(self._process,), name="llmops-flows-delivery", daemon=True
        )
        self._listener.start()
        self._send(self._config)

    def _send(self, data: bytes) -> None:
        if self._process is None or self._process.stdin is None:
            return
        try:
            os.write(self._process.stdin.fileno(), data)
        except BlockingIOError:
            pass  # the pipe is full of wake-ups
        except OSError:
            _close_pipe(self._process.stdin)
            self._process = None

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """Read outcomes until the process ends, then reap it."""
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                outcome = json.loads(line)
                name = outcome["exporter"]
                self._outcomes[name] = outcome
                if outcome["error"]:
                    self._warn(name, f"{name}: {plural(outcome['pending'], 'trace')} pending: {outcome['error']}")
        if process.wait() != 0:
            self._warn("process", f"the process that delivers traces ended with exit code {process.returncode}")

    def _warn(self, topic: str, message: str, kept: str = "They are kept") -> None:
        if topic not in self._warned:
            self._warned.add(topic)
            how = "delivered at the next start or by `python -m llmops_flows ship`"
            logging.getLogger("llmops_flows").warning("%s. %s, and %s", message, kept, how)


def _close_pipe(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        try:
            pipe.close()
        except OSError:
            pass
