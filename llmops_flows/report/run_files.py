"""The output files of a run: results.jsonl, summary.json and config.json, written atomically and without secrets."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmops_flows.core.record import Record
from llmops_flows.core.redaction import redact, redact_value

from .summary import results_row

FAILURE_FILE = "failure.txt"
"""Holds the cause why a point of a sweep has no results."""
SUMMARY_FILE = "summary.json"
"""Written last: if it exists, the other files exist."""


def write_run(folder: Path, records: Sequence[Record], summary: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Write the three files into the folder. Raises OSError."""
    write_run_rows(folder, [results_row(record) for record in records], summary, config)


def write_run_rows(
    folder: Path, rows: Iterable[Mapping[str, Any]], summary: Mapping[str, Any], config: Mapping[str, Any]
) -> None:
    """`write_run` for rows as in results.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(redact_value(row), ensure_ascii=False) for row in rows]
    write_atomically(folder / "results.jsonl", "".join(f"{line}\n" for line in lines))
    write_json(folder / "config.json", config)
    write_json(folder / SUMMARY_FILE, summary)
    (folder / FAILURE_FILE).unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    write_atomically(path, json.dumps(redact_value(value), indent=2, ensure_ascii=False, default=str) + "\n")


def write_failure(folder: Path, cause: str) -> None:
    """Write why the folder has no results, and remove the results of an earlier run."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (SUMMARY_FILE, "results.jsonl"):
        (folder / name).unlink(missing_ok=True)
    write_atomically(folder / FAILURE_FILE, redact(cause) + "\n")


def copy_run_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of a point that ran on another disk into its folder here, the summary last."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(files, key=lambda name: name == SUMMARY_FILE):
        write_atomically(folder / Path(name).name, files[name])
    if SUMMARY_FILE in files:
        (folder / FAILURE_FILE).unlink(missing_ok=True)


def relative_path(path: Path) -> Path:
    """The path, relative where it is below the current folder."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file and rename it into place. Raises OSError with the path of the file."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
