"""Many processes share one SQLite store: nothing is lost, no process is locked out, and work is done once."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from llmops_flows import Flow, Record, Runner
from llmops_flows.components.prompt.chat import ChatPrompt
from llmops_flows.core.fingerprint import digest
from llmops_flows.core.store import Entry
from llmops_flows.stores.sqlite_store import SQLiteStore
from llmops_flows.testing.fakes import CountedModel, logged_calls

spawn = multiprocessing.get_context("spawn")


def write_rows(path: Path, process: int, count: int, gate: Barrier, report: Path) -> None:
    store = SQLiteStore(path)
    gate.wait(60)
    begun = time.perf_counter()
    for n in range(count):
        text = b"%d.%d" % (process, n)
        store.put({text.decode(): Entry(digest(text))}, {digest(text): text})
    seconds = time.perf_counter() - begun
    store.close()
    report.write_text(json.dumps({"seconds": seconds}))


def read_rows(path: Path, process: int, count: int, gate: Barrier, report: Path) -> None:
    """Read what the writers write, and check that each known value is complete."""
    store, seen = SQLiteStore(path), 0
    gate.wait(60)
    names = [f"{writer}.{n}" for writer in range(process) for n in range(count)]
    until = time.monotonic() + 60
    while seen < len(names) and time.monotonic() < until:
        known = store.entries(names)
        data = store.values([entry.address for entry in known.values()])
        assert all(data[entry.address] == name.encode() for name, entry in known.items())
        seen = len(known)
        time.sleep(0.05)
    report.write_text(json.dumps({"seen": seen}))


@pytest.mark.parametrize(("writers", "count"), [(3, 150), pytest.param(8, 2000, marks=pytest.mark.slow)])
def test_concurrent_writes_are_all_stored(tmp_path: Path, writers: int, count: int) -> None:
    path, gate = tmp_path / "store.sqlite", spawn.Barrier(writers + 2)
    jobs = [(write_rows, n) for n in range(writers)] + [(read_rows, writers)]
    reports = [tmp_path / f"report{n}.json" for n in range(len(jobs))]
    processes = [
        spawn.Process(target=work, args=(path, n, count, gate, report))
        for (work, n), report in zip(jobs, reports, strict=True)
    ]
    for process in processes:
        process.start()
    gate.wait(60)
    store = SQLiteStore(path)
    store.backup(tmp_path / "while.sqlite")
    for process in processes:
        process.join(100)
    assert [process.exitcode for process in processes] == [0] * len(processes)
    results = [json.loads(report.read_text()) for report in reports]
    assert results[-1]["seen"] == writers * count
    names = [f"{writer}.{n}" for writer in range(writers) for n in range(count)]
    assert len(store.entries(names)) == writers * count
    copy = SQLiteStore(tmp_path / "while.sqlite")
    assert copy.verify().lost == {}
    copy.close()
    store.close()
    rate = writers * count / max(report["seconds"] for report in results[:-1])
    print(f"{rate:.0f} transactions/s", file=sys.stderr)


def open_new_stores(folder: Path, rounds: int, gate: Barrier, report: Path) -> None:
    for n in range(rounds):
        gate.wait(60)
        store = SQLiteStore(folder / f"{n}.sqlite")
        store.lease(["k"], report.name, seconds=1)
        store.close()
    report.write_text("done")


def test_processes_that_create_a_store_at_once_do_not_lock_each_other_out(tmp_path: Path) -> None:
    gate, reports = spawn.Barrier(4), [tmp_path / f"report{n}" for n in range(4)]
    processes = [spawn.Process(target=open_new_stores, args=(tmp_path, 40, gate, report)) for report in reports]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert all(report.exists() for report in reports)


# -- single flight ---------------------------------------------------------------------------------------------------


def counted_flow(log: Path, *, pause: float, fails: bool = False) -> Flow:
    prompt = ChatPrompt(messages=[{"role": "user", "content": "{question}"}])
    return Flow(stages={"prompt": prompt, "model": CountedModel(log=log, pause=pause, fails=fails)})


def ask(path: Path, log: Path, threads: int, gate: Barrier | None, report: Path, pause: float, fails: bool) -> None:
    """Ask the same question in several threads at once, and write the answers to a file."""
    flow = counted_flow(log, pause=pause, fails=fails)
    answers: list[str] = []

    def ask_once() -> None:
        [record] = runner.run(flow, [Record.of("1", {"question": "How long?"})])
        answers.append(str(record.error) if record.error else record.answer)

    with Runner(store=SQLiteStore(path)) as runner:
        if gate is not None:
            gate.wait(60)
        workers = [threading.Thread(target=ask_once) for _ in range(threads)]
        for thread in workers:
            thread.start()
        for thread in workers:
            thread.join()
    report.write_text(json.dumps(answers))


def answers_and_calls(tmp_path: Path, *, fails: bool) -> tuple[list[str], list[str]]:
    """The answers that 16 threads in each of 4 processes received, and the calls that were made."""
    gate, log = spawn.Barrier(4), tmp_path / "calls"
    reports = [tmp_path / f"report{n}" for n in range(4)]
    processes = [
        spawn.Process(target=ask, args=(tmp_path / "store.sqlite", log, 16, gate, report, 1.5, fails))
        for report in reports
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [text for report in reports for text in json.loads(report.read_text())], logged_calls(log)


def test_sixty_four_threads_of_four_processes_make_one_call(tmp_path: Path) -> None:
    answers, made = answers_and_calls(tmp_path, fails=False)
    assert len(made) == 1
    assert answers == ["said How long?"] * 64


def test_the_error_of_the_leader_reaches_every_waiter(tmp_path: Path) -> None:
    answers, made = answers_and_calls(tmp_path, fails=True)
    assert len(made) == 1
    assert len(answers) == 64
    assert all("the service is out of luck" in text for text in answers)


def test_after_the_leader_is_killed_one_more_call_is_made_at_once(tmp_path: Path) -> None:
    path, log = tmp_path / "store.sqlite", tmp_path / "calls"
    leader = spawn.Process(target=ask, args=(path, log, 1, None, tmp_path / "never", 60.0, False))
    leader.start()
    until = time.monotonic() + 30
    while not logged_calls(log) and time.monotonic() < until:
        time.sleep(0.02)
    assert leader.pid is not None
    os.kill(leader.pid, signal.SIGKILL)
    leader.join()
    begun = time.monotonic()
    ask(path, log, 8, None, tmp_path / "report", 0.2, False)
    assert time.monotonic() - begun < 5  # a lease lasts half a minute
    assert json.loads((tmp_path / "report").read_text()) == ["said How long?"] * 8
    assert len(logged_calls(log)) == 2
