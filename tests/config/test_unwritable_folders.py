"""What a run cannot keep is told once, before it begins, with the folder and the remedy; its answers stand."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from llmops_flows.config.load import load_experiment, open_runner
from llmops_flows.config.questions import records
from llmops_flows.core.record import Record
from tests.support.file_damage import read_only, small_disk

LINE = "new traces, answers and indexes cannot be stored in"


def run(home: Path, *overrides: str) -> list[Record]:
    words = ("flow=rag_support", "model=extractive", "retriever=bm25", "questions.limit=2", f"home={home}")
    experiment = load_experiment(*words, *overrides)
    asked = records(experiment.settings.questions.rows(experiment.settings.inputs))
    with open_runner(experiment) as (runner, flow):
        return runner.run(flow, asked)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_file_in_the_place_of_the_home_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    home = tmp_path / "home"
    home.write_text("")
    assert all(record.error is None for record in run(home))
    [told] = warnings(caplog)
    assert f"{LINE} {str(home)!r} ({str(home)!r} is a file)" in told and "home=FOLDER" in told


def test_a_home_that_can_only_be_read_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with read_only(tmp_path):
        assert all(record.error is None for record in run(tmp_path / "home"))
    [told] = warnings(caplog)
    assert LINE in told and "home=FOLDER" in told


def test_a_disk_that_fills_during_a_run_names_part_folder_and_remedy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(tmp_path / "small", "1200k") as disk:
        (disk / "fill").write_bytes(bytes(100_000))
        assert all(record.error is None for record in run(disk, "questions.limit=40"))
    told = warnings(caplog)
    assert told and all(str(disk) in line and "home=FOLDER" in line for line in told)
    assert any("traces are not kept" in line for line in told)


def test_an_index_that_chroma_cannot_write_is_built_for_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(tmp_path / "small") as disk:
        assert all(record.error is None for record in run(disk, "retriever=chroma"))
    told = [line for line in warnings(caplog) if "index" in line]
    assert len(told) == 1
    assert f"the chroma index cannot be stored in {str(disk)!r} (" in told[0]
    assert "home=FOLDER" in told[0]
