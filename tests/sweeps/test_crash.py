"""A sweep that is killed or interrupted, or whose points fail, keeps finished results and continues from there."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.jobs import finished, project, results, start_counts, start_sweep, sweep, workers

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes in /proc")


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Waits until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.01)


def run_to_completion(folder: Path, *overrides: str) -> str:
    process = sweep(folder, *overrides)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.mark.parametrize(
    ("jobs", "size", "kills"),
    [(12, 2, 2), pytest.param(200, 4, 20, marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
)
def test_a_sweep_that_is_killed_repeatedly_loses_and_repeats_no_finished_point(
    jobs: int, size: int, kills: int, tmp_path: Path
) -> None:
    folder, chance = project(tmp_path), random.Random(jobs)
    overrides = (f"model.number=range({jobs})", "model.pause=0.05", f"sweep.workers={size}")
    running = start_sweep(folder, *overrides)
    for point in sorted(chance.sample(range(1, jobs - size), kills)):
        while len(finished(folder)) < point:
            if running.poll() is not None:  # killed, or finished except for points that were killed twice
                running = start_sweep(folder, *overrides)
            time.sleep(0.01)
        before, complete, running_workers = start_counts(folder), finished(folder), workers(folder)
        if chance.random() < 0.5 and running_workers:
            os.kill(chance.choice(running_workers), signal.SIGKILL)
        else:
            running.kill()
            running.wait()
            wait_until(lambda: not workers(folder), 2.0)
        assert all(start_counts(folder)[job] == before[job] for job in complete)
    assert running.wait(110) in (0, 3, -9)
    assert all(start_counts(folder)[job] == before[job] for job in complete)
    output = run_to_completion(folder, *overrides)
    assert f"{jobs} of {jobs} points finished" in output
    newest = max((folder / "multirun").glob("*/*"))
    rows = [path.read_text() for path in newest.glob("*/results.jsonl")]
    assert len(set(rows)) == jobs
    assert set(start_counts(folder)) == set(range(jobs))
    assert sum(start_counts(folder).values()) - jobs <= size * kills


def test_a_killed_sweep_in_one_process_repeats_only_the_running_point(tmp_path: Path) -> None:
    folder = project(tmp_path)
    overrides = ("model.number=range(12)", "model.pause=0.1")
    running = start_sweep(folder, *overrides)
    wait_until(lambda: len(start_counts(folder)) == 6)
    running.kill()
    running.wait()
    run_to_completion(folder, *overrides)
    assert set(start_counts(folder)) == set(range(12)) and sum(start_counts(folder).values()) <= 13
    assert len(results(folder)) == 12


def test_points_that_raise_hang_or_are_killed_are_listed_and_the_others_are_saved(tmp_path: Path) -> None:
    folder = project(tmp_path, n13="raise", n14="hang", n15="memory")
    overrides = ("model.number=range(40)", "sweep.workers=2", "sweep.timeout=6")
    process = sweep(folder, *overrides)
    assert process.returncode == 3, process.stdout + process.stderr
    assert "37 of 40 points finished" in process.stdout
    for number, cause in [
        (13, "job failed"), (14, r"killed after 6 s \(sweep.timeout\)"),
        (15, r"killed by signal 9 \(SIGKILL\) in each of 2 attempts: out of memory\?"),
    ]:  # fmt: skip
        assert re.search(rf"point {number} \(model.number={number}\) failed:\n  - .*{cause}", process.stdout), (
            process.stdout
        )
    before = start_counts(folder)
    assert before[15] == 2 and sum(before.values()) == 41
    (folder / "fixed").touch()
    output = run_to_completion(folder, *overrides)
    assert "resumed: 37 of 40 points finished" in output and "40 of 40 points finished" in output
    assert start_counts(folder) - before == {13: 1, 14: 1, 15: 1}
    assert len(results(folder)) == 40
    assert not workers(folder)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_every_worker_within_a_second(sign: signal.Signals, tmp_path: Path) -> None:
    folder = project(tmp_path, n5="hang", n6="hang")
    overrides = ("model.number=range(8)", "sweep.workers=2")
    running = start_sweep(folder, *overrides)
    wait_until(lambda: {5, 6} <= set(start_counts(folder)) or len(finished(folder)) == 6)
    wait_until(lambda: {5, 6} <= set(start_counts(folder)))
    complete = finished(folder)
    start = time.monotonic()
    running.send_signal(sign)
    assert running.wait(10) == 130, (folder / "output.txt").read_text()
    assert time.monotonic() - start < 1.5
    assert not workers(folder)
    (folder / "fixed").touch()
    output = run_to_completion(folder, *overrides)
    assert f"resumed: {len(complete)} of 8 points finished" in output
    assert len(results(folder)) == 8


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    folder = project(tmp_path, n0="hang", n1="hang")
    running = start_sweep(folder, "model.number=range(2)", "sweep.workers=2")
    wait_until(lambda: len(start_counts(folder)) == 2)
    assert len(workers(folder)) == 2
    running.kill()
    running.wait()
    wait_until(lambda: not workers(folder), 2.0)


def test_fail_fast_stops_at_the_first_failure(tmp_path: Path) -> None:
    folder = project(tmp_path, n2="raise")
    for more in [(), ("sweep.workers=2",)]:
        process = sweep(folder, "model.number=range(30)", "model.pause=0.05", "sweep.fail_fast=true", *more)
        assert process.returncode == 3, process.stdout + process.stderr
        assert "job failed" in process.stdout and " not run" in process.stdout
        assert len(finished(folder)) < 20


def test_a_worker_that_exits_fails_with_its_exit_code(tmp_path: Path) -> None:
    folder = project(tmp_path, n1="exit")
    process = sweep(folder, "model.number=range(3)", "sweep.workers=2")
    assert process.returncode == 3
    assert "ended with exit code 7" in process.stdout


def test_a_sweep_without_any_answer_fails(tmp_path: Path) -> None:
    folder = project(tmp_path, n0="raise", n1="raise")
    assert sweep(folder, "model.number=range(2)").returncode == 1
