"""Artifacts: built once, whole or not at all, damage found."""

from __future__ import annotations

import multiprocessing
import os
import random
import threading
import time
from pathlib import Path

import pytest

from llmops_flows.artifacts.artifact import artifact, damaged
from tests.support.file_damage import damage_file, read_only


def write(folder: Path) -> None:
    (folder / "data.bin").write_bytes(b"index")
    with (folder.parent.parent.parent / "built.log").open("a") as log:
        log.write("built\n")


def builds(home: Path) -> int:
    return len((home / "built.log").read_text().splitlines())


def test_it_is_built_once_and_found_again(tmp_path: Path) -> None:
    first = artifact(tmp_path, "a1", write)
    assert artifact(tmp_path, "a1", write) == first
    assert (first / "data.bin").read_bytes() == b"index"
    assert builds(tmp_path) == 1


def test_threads_that_ask_at_once_wait_for_one_build(tmp_path: Path) -> None:
    def slow(folder: Path) -> None:
        time.sleep(0.1)
        write(folder)

    threads = [threading.Thread(target=artifact, args=(tmp_path, "a1", slow)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert builds(tmp_path) == 1


def _die_while_building(folder: Path) -> None:
    (folder / "data.bin").write_bytes(b"half")
    os._exit(9)


def test_what_a_process_left_half_built_is_built_anew(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=artifact, args=(tmp_path, "a1", _die_while_building))
    process.start()
    process.join(10)
    assert process.exitcode == 9
    place = artifact(tmp_path, "a1", write)
    assert (place / "data.bin").read_bytes() == b"index"
    assert [p.name for p in place.parent.iterdir() if p.is_dir()] == ["a1"]


def test_a_build_that_fails_leaves_nothing_and_is_tried_again(tmp_path: Path) -> None:
    def broken(folder: Path) -> None:
        (folder / "data.bin").write_bytes(b"half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        artifact(tmp_path, "a1", broken)
    assert (artifact(tmp_path, "a1", write) / "data.bin").read_bytes() == b"index"


@pytest.mark.parametrize("harm", ["flip", "truncate", "delete", "add", "manifest"])
def test_damage_is_found_counted_and_mended(tmp_path: Path, harm: str) -> None:
    file = artifact(tmp_path, "a1", write, kind=harm) / "data.bin"
    match harm:
        case "flip":
            file.write_bytes(b"indey")
        case "truncate":
            file.write_bytes(b"ind")
        case "delete":
            file.unlink()
        case "add":
            (file.parent / "more").write_bytes(b"")
        case "manifest":
            (file.parent / "manifest.json").write_bytes(b"{")
    assert (artifact(tmp_path, "a1", write, kind=harm) / "data.bin").read_bytes() == b"index"
    assert damaged[harm] == 1
    assert builds(tmp_path) == 2


def test_without_a_home_it_lives_as_long_as_the_process() -> None:
    place = artifact(None, "a1", lambda folder: (folder / "x").write_bytes(b"") and None)
    assert artifact(None, "a1", lambda folder: None) == place


def test_a_home_that_cannot_be_written_is_told_once_and_the_run_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "home").write_text("")
    for name in ("b1", "b2", "b1"):
        place = artifact(tmp_path / "home", name, lambda folder: (folder / "x").write_bytes(b"x") and None)
        assert (place / "x").read_bytes() == b"x"
    assert caplog.text.count("cannot be stored in") == 1


def test_an_index_in_a_folder_that_can_only_be_read_is_used(tmp_path: Path) -> None:
    place = artifact(tmp_path / "home", "a1", write)
    with read_only(tmp_path / "home"):
        assert artifact(tmp_path / "home", "a1", write) == place


@pytest.mark.parametrize("places", [100, pytest.param(500, marks=pytest.mark.slow)])
def test_damage_anywhere_in_an_index_is_found(tmp_path: Path, places: int) -> None:
    """Flip, zero or cut off, at many places of many files: what comes back is whole, or was built again."""
    parts = {f"part{n}.bin": bytes(random.Random(n).randbytes(300)) for n in range(4)}

    def build(folder: Path) -> None:
        for name, data in parts.items():
            (folder / name).write_bytes(data)

    chance = random.Random(15)
    damaged.clear()
    for _ in range(places):
        place = artifact(tmp_path, "a1", build, kind="many")
        file = chance.choice([*sorted(place.iterdir())])
        damage_file(file, chance)
        mended = artifact(tmp_path, "a1", build, kind="many")
        assert {name: (mended / name).read_bytes() for name in parts} == parts
    assert damaged["many"] >= places * 0.9
