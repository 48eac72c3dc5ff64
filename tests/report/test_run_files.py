"""Output files are written atomically, and replace those of an earlier run."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_flows.core.errors import FlowError
from llmops_flows.report import run_files, saved_runs


def test_copied_results_replace_an_earlier_failure(tmp_path: Path) -> None:
    run_files.write_failure(tmp_path / "here" / "3", "its process died")
    run_files.write_run_rows(
        tmp_path / "there" / "3", [{"id": "a", "answer": "yes"}], {"answered": 1}, {"name": "shop"}
    )
    run_files.copy_run_files(
        tmp_path / "here" / "3", {p.name: p.read_bytes() for p in (tmp_path / "there" / "3").iterdir()}
    )
    assert saved_runs.read_run(tmp_path / "here" / "3").rows == saved_runs.read_run(tmp_path / "there" / "3").rows


def test_a_copied_failure_is_read_as_failure(tmp_path: Path) -> None:
    run_files.copy_run_files(tmp_path / "3", {run_files.FAILURE_FILE: b"out of memory\n"})
    with pytest.raises(FlowError, match="out of memory"):
        saved_runs.read_run(tmp_path / "3")


def test_the_summary_is_copied_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, path: written.append(path.name) or replace(self, path))
    run_files.copy_run_files(tmp_path, {"summary.json": b"{}", "results.jsonl": b"", "config.json": b"{}"})
    assert written[-1] == "summary.json"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "results.jsonl", "summary.json"]


def test_a_path_below_the_current_folder_is_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_files.relative_path(tmp_path / "multirun" / "3") == Path("multirun/3")
    assert run_files.relative_path(Path("/elsewhere")) == Path("/elsewhere")
