"""A sweep on a disk that fills reports it, loses no finished work, and resumes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.file_damage import small_disk

SWEEP = (
    "-m", "flow=rag_support", "model=extractive", "retriever=bm25", "guardrail=none", "evaluator=none",
    "retriever.k=1,2,3", "questions.limit=6",
)  # fmt: skip
DISK = 2048


def command(folder: Path, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llmops_flows", *words],
        cwd=folder, capture_output=True, text=True, timeout=100, env={**os.environ, "LLMOPS_FLOWS_HOME": str(home)},
    )  # fmt: skip


def answers(folder: Path) -> dict[str, list[Any]]:
    """Point to its answers, for the only sweep in a folder."""
    files = sorted(folder.glob("multirun/*/*/[0-9]*/results.jsonl"))
    return {f.parent.name: [json.loads(line)["answer"] for line in f.read_text().splitlines()] for f in files}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The answers of the sweep on a disk with enough space."""
    folder = tmp_path_factory.mktemp("room")
    assert command(folder, folder / "home", *SWEEP).returncode == 0
    return answers(folder)


def fill(disk: Path, room: int) -> Path:
    """Fill a disk, and leave `room` kB free."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize // 1024
    filler = disk / "filler"
    filler.write_bytes(bytes(1024 * max(0, free - room)))
    return filler


def temporary_files(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*") if path.is_file() and path.name != ".sweep.lock"]


@pytest.mark.parametrize(
    ("home", "here", "room"),
    [
        pytest.param("disk/home", "disk", 24, id="everything"),
        pytest.param("home", "disk", 16, marks=pytest.mark.slow, id="the results"),
        *(
            pytest.param("disk/home", "disk", room, marks=pytest.mark.slow, id=f"everything, {room} kB left")
            for room in (0, 60, 120, 200, 300, 400, 500, 700, 900, 1200)
        ),
        *(
            pytest.param("disk/home", ".", room, marks=pytest.mark.slow, id=f"what is kept, {room} kB left")
            for room in (0, 40, 100, 300, 500, 900, 1000, 1100)
        ),
    ],
)
def test_a_full_disk_is_reported_and_the_same_command_completes_the_sweep(
    tmp_path: Path, expected: dict[str, list[Any]], home: str, here: str, room: int
) -> None:
    with small_disk(tmp_path / "disk", f"{DISK}k") as disk:
        filler = fill(disk, room)
        done = command(tmp_path / here, tmp_path / home, *SWEEP)
        output = done.stdout + done.stderr
        assert "Traceback" not in output
        assert done.returncode == 0 if here == "." else done.returncode in (0, 1, 3)
        assert "No space left on device" in output or "database or disk is full" in output
        assert str(disk) in output or "multirun/" in output
        assert not temporary_files(tmp_path)
        filler.unlink()
        again = command(tmp_path / here, tmp_path / home, *SWEEP)
        assert again.returncode == 0, again.stdout + again.stderr
        assert answers(tmp_path / here) == expected
        assert command(tmp_path / here, tmp_path / home, "store", "verify").returncode == 0


def test_finished_work_is_not_computed_again_after_the_disk_filled(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", f"{DISK}k") as disk:
        home = disk / "home"
        assert command(tmp_path, home, *SWEEP, "retriever.k=1").returncode == 0
        before = json.loads(command(tmp_path, home, "store", "stats", "--json").stdout)
        filler = fill(disk, 0)
        during = command(tmp_path, home, "plan", *SWEEP, "retriever.k=1")
        assert during.returncode == 0 and known(during.stdout), during.stdout + during.stderr
        during = command(tmp_path, home, *SWEEP)
        assert during.returncode == 0 and "No space left on device" in during.stderr
        filler.unlink()
        kept = json.loads(command(tmp_path, home, "store", "stats", "--json").stdout)
        assert all(kept["stages"][name]["entries"] >= share["entries"] for name, share in before["stages"].items())
        assert known(command(tmp_path, home, "plan", *SWEEP, "retriever.k=1").stdout)


def known(plan: str) -> bool:
    """Whether every answer of a plan is known."""
    rows = [line.split() for line in plan.splitlines() if line.startswith(("retrieve", "prompt", "model"))]
    return len(rows) >= 3 and all(row[1] == row[2] for row in rows)
