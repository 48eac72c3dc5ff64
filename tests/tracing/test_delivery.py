"""Tracing delays no answer and loses no trace, whatever the endpoint does and however the application ends."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmops_flows.tracing.trace_store import TraceStore
from tests.support.langsmith_server import FakeLangSmith, fake_langsmith

ROOT = Path(__file__).parents[2]


@dataclass
class App:
    """The outcome of an application.

    Attributes:
        took: seconds of each run.
        cpu, wall: seconds of tracing in each run.
        ended_after: seconds from the last answer to the end of the process.
    """

    code: int
    took: list[float]
    cpu: list[float]
    wall: list[float]
    ended_after: float
    stderr: str

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.stderr.splitlines() if "are kept" in line]


@pytest.fixture
def receiver() -> Iterator[FakeLangSmith]:
    with fake_langsmith() as server:
        yield server


def app(folder: Path, url: str, *, count: int = 20, ending: str = "well") -> App:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.traced_app", str(folder), str(count), ending],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
        env={**os.environ, "LANGSMITH_ENDPOINT": url, "LANGSMITH_API_KEY": "lsv2-test-key"},
    )  # fmt: skip
    now = time.time()
    times = json.loads(done.stdout.splitlines()[0])
    return App(done.returncode, times["took"], times["cpu"], times["wall"], now - times["done"], done.stderr)


def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def stored(folder: Path) -> int:
    store = TraceStore(folder / "traces.sqlite")
    try:
        return sum(len(store.traces(run.run)) for run in store.runs(1000))
    finally:
        store.close()


def pending(folder: Path) -> int:
    store = TraceStore(folder / "traces.sqlite")
    try:
        return store.outbox.pending_counts().get("langsmith", 0)
    finally:
        store.close()


@pytest.mark.parametrize("behavior", ["refused", "hang", "429", "500", "slow"])
def test_a_failing_endpoint_delays_neither_answers_nor_the_exit(
    tmp_path: Path, receiver: FakeLangSmith, behavior: str
) -> None:
    url = "http://127.0.0.1:9" if behavior == "refused" else receiver.url
    receiver.behavior = "well" if behavior == "refused" else behavior  # type: ignore[assignment]
    count = 20 if behavior == "slow" else 200  # every trace must arrive before the test ends
    done = app(tmp_path, url, count=count)
    assert done.code == 0 and stored(tmp_path) == count
    # The first run opens the store. A busy machine adds wall time, but no processor time, and not to half of the runs.
    waits = [wall - cpu for wall, cpu in zip(done.wall, done.cpu, strict=True)]
    worst, waited = statistics.quantiles(done.cpu[1:], n=100, method="inclusive")[-1], statistics.median(waits)
    assert worst <= 0.005 and waited <= 0.005, (worst, waited)
    assert done.ended_after < 10  # an exporter that the exit waited for would take 16 s or more
    # A slow endpoint may have taken everything while a busy machine ended the application.
    assert len(done.warnings) == 1 or (behavior == "slow" and not done.warnings), done.stderr
    assert "Traceback" not in done.stderr
    if behavior == "slow":
        assert eventually(lambda: pending(tmp_path) == 0)
    else:
        receiver.over.set()


@pytest.mark.parametrize("ending", ["exception", "SIGTERM", "SIGINT", "SIGKILL"])
def test_traces_are_stored_however_the_application_ends(tmp_path: Path, ending: str) -> None:
    app(tmp_path, "http://127.0.0.1:9", count=200, ending=ending)
    assert stored(tmp_path) == pending(tmp_path) == 200


def test_the_traces_of_a_killed_application_are_delivered(tmp_path: Path, receiver: FakeLangSmith) -> None:
    app(tmp_path, receiver.url, count=100, ending="SIGKILL")
    assert eventually(lambda: pending(tmp_path) == 0)
    assert len(receiver.roots()) == 100 and set(receiver.posts.values()) == {1}


def test_pending_traces_are_delivered_once_at_the_next_start(tmp_path: Path, receiver: FakeLangSmith) -> None:
    app(tmp_path, "http://127.0.0.1:9", count=5, ending="SIGKILL")
    assert pending(tmp_path) == 5
    app(tmp_path, receiver.url, count=5)
    assert eventually(lambda: pending(tmp_path) == 0)
    assert len(receiver.roots()) == 10 and set(receiver.posts.values()) == {1}


def test_an_endpoint_that_hangs_does_not_delay_answers(tmp_path: Path, receiver: FakeLangSmith) -> None:
    receiver.behavior = "hang"
    took = sorted(app(tmp_path, receiver.url, count=200).took[1:])
    receiver.over.set()
    assert took[len(took) // 2] < 0.05


def test_the_delivery_process_ends_soon_after_the_application(tmp_path: Path, receiver: FakeLangSmith) -> None:
    app(tmp_path, receiver.url, count=1)
    assert eventually(lambda: not _processes_with_open_files(tmp_path))


def _processes_with_open_files(folder: Path) -> list[str]:
    """Command lines of processes that have the trace store open."""
    command_lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            files = [os.readlink(file) for file in (process / "fd").iterdir()]
        except OSError:
            continue
        if any(str(folder) in file for file in files) and int(process.name) != os.getpid():
            command_lines.append((process / "cmdline").read_text().replace("\0", " "))
    return command_lines
