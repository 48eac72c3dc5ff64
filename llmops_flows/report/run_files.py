"""What a run leaves behind: results.jsonl, summary.json and the config, whole or not at all, without secrets."""

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
"""Why a point of a sweep has no results."""
SUMMARY_FILE = "summary.json"
"""Where it lies, all else does too."""


def write_run(folder: Path, records: Sequence[Record], summary: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Write the three files into the folder. Raises OSError when that is not possible."""
    write_run_rows(folder, [results_row(record) for record in records], summary, config)


def write_run_rows(
    folder: Path, rows: Iterable[Mapping[str, Any]], summary: Mapping[str, Any], config: Mapping[str, Any]
) -> None:
    """`write` for rows as they stand in results.jsonl. The summary comes last: where it lies, all else does too."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(redact_value(one), ensure_ascii=False) for one in rows]
    write_atomically(folder / "results.jsonl", "".join(f"{line}\n" for line in lines))
    write_json(folder / "config.json", config)
    write_json(folder / SUMMARY_FILE, summary)
    (folder / FAILURE_FILE).unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a file of JSON, whole or not at all."""
    write_atomically(path, json.dumps(redact_value(value), indent=2, ensure_ascii=False, default=str) + "\n")


def write_failure(folder: Path, cause: str) -> None:
    """Say why there are no results. Results of an earlier run that lie there are not those of this one: they go."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (SUMMARY_FILE, "results.jsonl"):
        (folder / name).unlink(missing_ok=True)
    write_atomically(folder / FAILURE_FILE, redact(cause) + "\n")


def copy_run_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put what a point left on another disk into its folder here, the summary last, as `write_rows` does."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(files, key=lambda name: name == SUMMARY_FILE):
        write_atomically(folder / Path(name).name, files[name])
    if SUMMARY_FILE in files:
        (folder / FAILURE_FILE).unlink(missing_ok=True)


def relative_path(path: Path) -> Path:
    """A path as people read it: relative where it lies below the current folder."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file, whole or not at all: half a one takes no room. Raises OSError, which names the file."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
