"""Workers that die or hang affect only their own task, and no process outlives the pool."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from llmops_flows.core.errors import FlowError
from llmops_flows.sweeps.workers.pool import STOP, Task, WorkerPool

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
WORKER = """
import json, os, sys, time
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    exec(task.get("do", ""))
    print(json.dumps({"n": task["n"], "process": os.getpid()}), flush=True)
"""


def pool(workers: int = 2, **options: Any) -> WorkerPool:
    return WorkerPool([sys.executable, "-c", WORKER], workers, **options)


def tasks(count: int, **do: str) -> list[Task]:
    return [Task({"n": n, "do": do.get(f"n{n}", "")}) for n in range(count)]


def has_ended(process: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_all_workers_run_all_tasks() -> None:
    with pool(2) as workers:
        results = dict(workers.run(tasks(20, n3="time.sleep(0.3)")))
        again = dict(workers.run(tasks(3)))
    assert {n: result["n"] for n, result in results.items()} == {n: n for n in range(20)}  # type: ignore[index]
    processes = {result["process"] for result in [*results.values(), *again.values()]}  # type: ignore[index]
    assert len(processes) == 2 and all(map(has_ended, processes))


def test_a_task_that_kills_its_worker_is_retried_once_and_then_fails() -> None:
    do = {"n1": "os.kill(os.getpid(), 9)", "n2": "os._exit(3)", "n4": "sys.stdout.write('{'), os._exit(0)"}
    with pool(2) as workers:
        results = dict(workers.run(tasks(6, **do)))
    assert results[1] == "its process was killed by signal 9 (SIGKILL) in each of 2 attempts: out of memory?"
    assert results[2] == "its process ended with exit code 3 in each of 2 attempts"
    assert results[4] == "its process ended with exit code 0 in each of 2 attempts"
    assert [results[n]["n"] for n in (0, 3, 5)] == [0, 3, 5]  # type: ignore[index]


def test_a_task_that_hangs_is_killed_with_its_child_processes(tmp_path: Path) -> None:
    pid_file = str(tmp_path / "pid")
    task = f"import subprocess; open({pid_file!r}, 'w').write(str(subprocess.Popen(['sleep', '9']).pid)); time.sleep(9)"
    began = time.monotonic()
    with pool(1, timeout=0.5) as workers:
        results = dict(workers.run(tasks(2, n0=task)))
    assert results[0] == "killed after 0.5 s (sweep.timeout)"
    assert results[1]["n"] == 1  # type: ignore[index]
    assert time.monotonic() - began < 10
    assert has_ended(int((tmp_path / "pid").read_text()))


def test_closing_the_iterator_stops_running_tasks() -> None:
    with pool(2) as workers:
        results = workers.run(tasks(3, n1="time.sleep(60)", n2="time.sleep(60)"))
        number, result = next(results)
        began = time.monotonic()
        results.close()  # type: ignore[attr-defined]
        assert time.monotonic() - began < STOP + 1
    assert number == 0 and has_ended(result["process"])  # type: ignore[index]


def test_workers_that_cannot_start_are_an_error() -> None:
    error = pytest.raises(FlowError, match="end before they are ready: its process ended with exit code 4")
    with error, WorkerPool([sys.executable, "-c", "import sys; sys.exit(4)"], 2) as workers:
        list(workers.run(tasks(2)))
