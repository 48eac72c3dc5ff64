"""What a run leaves behind: results.jsonl, summary.json and the config, whole or not at all, without secrets."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmops_flows.core.record import Record
from llmops_flows.core.secrets import redact_value

from .summary import row


def write(folder: Path, records: Sequence[Record], summary: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Write the three files into the folder. Raises OSError when that is not possible."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(redact_value(row(record)), ensure_ascii=False) for record in records]
    _whole(folder / "results.jsonl", "".join(f"{line}\n" for line in lines))
    _whole(folder / "summary.json", json.dumps(redact_value(summary), indent=2, ensure_ascii=False) + "\n")
    _whole(folder / "config.json", json.dumps(redact_value(config), indent=2, ensure_ascii=False, default=str) + "\n")


def _whole(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
