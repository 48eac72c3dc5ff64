"""Workers that die, hang or stutter cost no task but their own; whoever starts them leaves none behind."""

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
    print(json.dumps({"said": task["n"], "by": os.getpid()}), flush=True)
"""


def pool(workers: int = 2, **options: Any) -> WorkerPool:
    return WorkerPool([sys.executable, "-c", WORKER], workers, **options)


def tasks(count: int, **do: str) -> list[Task]:
    return [Task({"n": n, "do": do.get(f"n{n}", "")}) for n in range(count)]


def gone(process: int) -> bool:
    """Whether a process has ended, collected or not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_every_task_is_answered_by_as_many_workers_as_there_may_be() -> None:
    with pool(2) as workers:
        told = dict(workers.run(tasks(20, n3="time.sleep(0.3)")))
        again = dict(workers.run(tasks(3)))
    assert {n: said["said"] for n, said in told.items()} == {n: n for n in range(20)}  # type: ignore[index]
    by = {said["by"] for said in [*told.values(), *again.values()]}  # type: ignore[index]
    assert len(by) == 2 and all(map(gone, by))


def test_a_task_that_kills_its_worker_is_tried_once_more_and_then_given_up() -> None:
    do = {"n1": "os.kill(os.getpid(), 9)", "n2": "os._exit(3)", "n4": "sys.stdout.write('{'), os._exit(0)"}
    with pool(2) as workers:
        told = dict(workers.run(tasks(6, **do)))
    assert told[1] == "its process was killed by signal 9 (SIGKILL) in each of 2 attempts: out of memory?"
    assert told[2] == "its process ended with exit code 3 in each of 2 attempts"
    assert told[4] == "its process ended with exit code 0 in each of 2 attempts"
    assert [told[n]["said"] for n in (0, 3, 5)] == [0, 3, 5]  # type: ignore[index]


def test_a_task_that_hangs_is_stopped_with_all_that_it_started(tmp_path: Path) -> None:
    note = str(tmp_path / "pid")
    start = f"import subprocess; open({note!r}, 'w').write(str(subprocess.Popen(['sleep', '9']).pid)); time.sleep(9)"
    begun = time.monotonic()
    with pool(1, timeout=0.5) as workers:
        told = dict(workers.run(tasks(2, n0=start)))
    assert told[0] == "killed after 0.5 s (sweep.timeout)"
    assert told[1]["said"] == 1  # type: ignore[index]
    assert time.monotonic() - begun < 10
    assert gone(int((tmp_path / "pid").read_text()))


def test_leaving_early_stops_what_is_at_work() -> None:
    with pool(2) as workers:
        answers = workers.run(tasks(3, n1="time.sleep(60)", n2="time.sleep(60)"))
        number, said = next(answers)
        begun = time.monotonic()
        answers.close()  # type: ignore[attr-defined]
        assert time.monotonic() - begun < STOP + 1
    assert number == 0 and gone(said["by"])  # type: ignore[index]


def test_workers_that_cannot_start_are_told_and_not_started_for_ever() -> None:
    told = pytest.raises(FlowError, match="end before they are ready: its process ended with exit code 4")
    with told, WorkerPool([sys.executable, "-c", "import sys; sys.exit(4)"], 2) as workers:
        list(workers.run(tasks(2)))
