"""A sweep that is killed, interrupted, or full of trouble keeps what is finished, and goes on from there."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.jobs import begun, finished, project, results, started, sweep, workers

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes in /proc")


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


def run_to_its_end(folder: Path, *overrides: str) -> str:
    done = sweep(folder, *overrides)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("jobs", "size", "kills"),
    [(12, 2, 2), pytest.param(200, 4, 20, marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
)
def test_a_sweep_that_is_killed_again_and_again_loses_nothing_and_repeats_nothing(
    jobs: int, size: int, kills: int, tmp_path: Path
) -> None:
    folder, chance = project(tmp_path), random.Random(jobs)
    overrides = (f"model.number=range({jobs})", "model.pause=0.05", f"sweep.workers={size}")
    running = started(folder, *overrides)
    for point in sorted(chance.sample(range(1, jobs - size), kills)):
        while len(finished(folder)) < point:
            if running.poll() is not None:  # as after a kill; or it is through, all but what was killed twice
                running = started(folder, *overrides)
            time.sleep(0.01)
        before, done, at_work = begun(folder), finished(folder), workers(folder)
        if chance.random() < 0.5 and at_work:
            os.kill(chance.choice(at_work), signal.SIGKILL)
        else:
            running.kill()
            running.wait()
            until(lambda: not workers(folder), 2.0)
        assert all(begun(folder)[job] == before[job] for job in done)
    assert running.wait(110) in (0, 3, -9)
    assert all(begun(folder)[job] == before[job] for job in done)
    told = run_to_its_end(folder, *overrides)
    assert f"{jobs} of {jobs} points finished" in told
    newest = max((folder / "multirun").glob("*/*"))
    rows = [path.read_text() for path in newest.glob("*/results.jsonl")]
    assert len(set(rows)) == jobs
    assert set(begun(folder)) == set(range(jobs))
    assert sum(begun(folder).values()) - jobs <= size * kills


def test_a_sweep_in_one_process_that_is_killed_repeats_what_was_in_flight_at_most(tmp_path: Path) -> None:
    folder = project(tmp_path)
    overrides = ("model.number=range(12)", "model.pause=0.1")
    running = started(folder, *overrides)
    until(lambda: len(begun(folder)) == 6)
    running.kill()
    running.wait()
    run_to_its_end(folder, *overrides)
    assert set(begun(folder)) == set(range(12)) and sum(begun(folder).values()) <= 13
    assert len(results(folder)) == 12


def test_what_raises_hangs_or_is_killed_is_listed_and_the_rest_is_kept(tmp_path: Path) -> None:
    folder = project(tmp_path, n13="raise", n14="hang", n15="memory")
    overrides = ("model.number=range(40)", "sweep.workers=2", "sweep.timeout=6")
    done = sweep(folder, *overrides)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "37 of 40 points finished" in done.stdout
    for number, cause in [
        (13, "no luck today"), (14, r"killed after 6 s \(sweep.timeout\)"),
        (15, r"killed by signal 9 \(SIGKILL\) in each of 2 attempts: out of memory\?"),
    ]:  # fmt: skip
        assert re.search(rf"point {number} \(model.number={number}\) failed:\n  - .*{cause}", done.stdout), done.stdout
    before = begun(folder)
    assert before[15] == 2 and sum(before.values()) == 41
    (folder / "mended").touch()
    told = run_to_its_end(folder, *overrides)
    assert "resumed: 37 of 40 points finished" in told and "40 of 40 points finished" in told
    assert begun(folder) - before == {13: 1, 14: 1, 15: 1}
    assert len(results(folder)) == 40
    assert not workers(folder)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_every_worker_within_a_second(sign: signal.Signals, tmp_path: Path) -> None:
    folder = project(tmp_path, n5="hang", n6="hang")
    overrides = ("model.number=range(8)", "sweep.workers=2")
    running = started(folder, *overrides)
    until(lambda: {5, 6} <= set(begun(folder)) or len(finished(folder)) == 6)
    until(lambda: {5, 6} <= set(begun(folder)))
    kept = finished(folder)
    asked = time.monotonic()
    running.send_signal(sign)
    assert running.wait(10) == 130, (folder / "said.txt").read_text()
    assert time.monotonic() - asked < 1.5
    assert not workers(folder)
    (folder / "mended").touch()
    told = run_to_its_end(folder, *overrides)
    assert f"resumed: {len(kept)} of 8 points finished" in told
    assert len(results(folder)) == 8


def test_workers_end_when_who_started_them_is_killed(tmp_path: Path) -> None:
    folder = project(tmp_path, n0="hang", n1="hang")
    running = started(folder, "model.number=range(2)", "sweep.workers=2")
    until(lambda: len(begun(folder)) == 2)
    assert len(workers(folder)) == 2
    running.kill()
    running.wait()
    until(lambda: not workers(folder), 2.0)


def test_the_first_failure_may_be_the_last(tmp_path: Path) -> None:
    folder = project(tmp_path, n2="raise")
    for more in [(), ("sweep.workers=2",)]:
        done = sweep(folder, "model.number=range(30)", "model.pause=0.05", "sweep.fail_fast=true", *more)
        assert done.returncode == 3, done.stdout + done.stderr
        assert "no luck today" in done.stdout and " not run" in done.stdout
        assert len(finished(folder)) < 20


def test_a_process_that_leaves_by_itself_is_a_failure_with_its_exit_code(tmp_path: Path) -> None:
    folder = project(tmp_path, n1="leave")
    done = sweep(folder, "model.number=range(3)", "sweep.workers=2")
    assert done.returncode == 3
    assert "ended with exit code 7" in done.stdout


def test_a_sweep_of_which_nothing_is_kept_has_failed(tmp_path: Path) -> None:
    folder = project(tmp_path, n0="raise", n1="raise")
    assert sweep(folder, "model.number=range(2)").returncode == 1
