"""What a run leaves behind: results.jsonl, summary.json and the config, whole or not at all, without secrets."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmops_flows.core.record import Record
from llmops_flows.core.redaction import redact, redact_value

from .summary import row

FAILURE = "failure.txt"
"""Why a point of a sweep has no results."""
SUMMARY = "summary.json"
"""Where it lies, all else does too."""


def write(folder: Path, records: Sequence[Record], summary: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Write the three files into the folder. Raises OSError when that is not possible."""
    write_rows(folder, [row(record) for record in records], summary, config)


def write_rows(
    folder: Path, rows: Iterable[Mapping[str, Any]], summary: Mapping[str, Any], config: Mapping[str, Any]
) -> None:
    """`write` for rows as they stand in results.jsonl. The summary comes last: where it lies, all else does too."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(redact_value(one), ensure_ascii=False) for one in rows]
    write_whole(folder / "results.jsonl", "".join(f"{line}\n" for line in lines))
    write_json(folder / "config.json", config)
    write_json(folder / SUMMARY, summary)
    (folder / FAILURE).unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a file of JSON, whole or not at all."""
    write_whole(path, json.dumps(redact_value(value), indent=2, ensure_ascii=False, default=str) + "\n")


def write_failure(folder: Path, cause: str) -> None:
    """Say why there are no results. Results of an earlier run that lie there are not those of this one: they go."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (SUMMARY, "results.jsonl"):
        (folder / name).unlink(missing_ok=True)
    write_whole(folder / FAILURE, redact(cause) + "\n")


def bring(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put what a point left on another disk into its folder here, the summary last, as `write_rows` does."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(files, key=lambda name: name == SUMMARY):
        write_whole(folder / Path(name).name, files[name])
    if SUMMARY in files:
        (folder / FAILURE).unlink(missing_ok=True)


def near(path: Path) -> Path:
    """A path as people read it: relative where it lies below the current folder."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, whole or not at all: half a one takes no room. Raises OSError, which names the file."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
