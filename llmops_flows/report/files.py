"""What a run leaves behind: results.jsonl, summary.json and the config, whole or not at all, without secrets."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmops_flows.core.record import Record
from llmops_flows.core.secrets import redact, redact_value

from .summary import row

FAILURE = "failure.txt"
"""Why a point of a sweep has no results."""


def write(folder: Path, records: Sequence[Record], summary: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Write the three files into the folder. Raises OSError when that is not possible."""
    write_rows(folder, [row(record) for record in records], summary, config)


def write_rows(
    folder: Path, rows: Iterable[Mapping[str, Any]], summary: Mapping[str, Any], config: Mapping[str, Any]
) -> None:
    """`write` for rows as they stand in results.jsonl. The summary comes last: where it lies, all else does too."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(redact_value(one), ensure_ascii=False) for one in rows]
    _whole(folder / "results.jsonl", "".join(f"{line}\n" for line in lines))
    write_json(folder / "config.json", config)
    write_json(folder / "summary.json", summary)
    (folder / FAILURE).unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a file of JSON, whole or not at all."""
    _whole(path, json.dumps(redact_value(value), indent=2, ensure_ascii=False, default=str) + "\n")


def write_failure(folder: Path, cause: str) -> None:
    """Say why there are no results. Results of an earlier run that lie there are not those of this one: they go."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("summary.json", "results.jsonl"):
        (folder / name).unlink(missing_ok=True)
    _whole(folder / FAILURE, redact(cause) + "\n")


def _whole(path: Path, text: str) -> None:
    """Write a file, whole or not at all: half a one takes no room. Raises OSError, which names the file."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
