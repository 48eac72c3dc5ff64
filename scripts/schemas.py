"""Writes the JSON Schemas of the option files into conf/.schemas, and the line that names them into each file.

Run `make schemas` after a component's fields or an option file changed. `--check` only lists outdated files.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from llmops_flows.config import json_schema
from llmops_flows.sweeps.search.search_settings import SearchSettings

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"
HEADER = "# yaml-language-server: $schema="
_KEY = re.compile(r"@_global_\.(\w+)")
_TARGET = re.compile(r"\b_target_: *([\w.]+)")


def option_files() -> list[Path]:
    return sorted(CONF.rglob("*.yaml"))


def shipped_groups() -> list[str]:
    """The groups of the shipped files, and the keys that their defaults lists fill (`/model@_global_.judge`)."""
    groups = {path.name for path in CONF.iterdir() if path.is_dir() and path.name not in (json_schema.FOLDER, "hydra")}
    keys = {name for file in option_files() for name in _KEY.findall(file.read_text(encoding="utf-8"))}
    return sorted(groups - {"flow", "debug"} | keys)


def targets() -> list[str]:
    """Every component that a shipped file names."""
    return sorted({name for file in option_files() for name in _TARGET.findall(file.read_text(encoding="utf-8"))})


def expected() -> dict[Path, str]:
    """Path to text of every schema, and of every option file with its header."""
    classes = json_schema.component_classes(targets())
    schemas: dict[str, Any] = {
        f"{cls.__module__}.{cls.__qualname__}.json": json_schema.component_schema(cls) for cls in classes
    }
    schemas |= {
        json_schema.PARTS: json_schema.parts_schema(classes),
        json_schema.FLOW: json_schema.flow_schema(shipped_groups()),
        json_schema.SEARCH: json_schema.settings_schema("Search", SearchSettings),
    }
    texts = {
        CONF / json_schema.FOLDER / name: json.dumps(text, indent=1, ensure_ascii=False) + "\n"
        for name, text in schemas.items()
    }
    return texts | {file: with_header(file) for file in option_files()}


def with_header(file: Path) -> str:
    """The file's text with the line that names its schema, after `# @package`, which Hydra reads only at the top."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith(HEADER)]
    place = next((n for n, line in enumerate(lines) if not line.startswith("# @")), len(lines))
    where = os.path.relpath(CONF / json_schema.FOLDER / schema_name(file), file.parent)
    return "\n".join([*lines[:place], f"{HEADER}{Path(where).as_posix()}", *lines[place:]]) + "\n"


def schema_name(file: Path) -> str:
    """The schema of an option file: of its component, of a mapping of components, of a flow, or of a search."""
    text = file.read_text(encoding="utf-8")
    data = yaml.safe_load(text)
    if "# @package _global_" in text or file.parent == CONF:
        return json_schema.FLOW
    if file.parent == CONF / "hydra" / "sweeper":
        return json_schema.SEARCH
    if isinstance(data, dict) and "_target_" in data:
        return f"{data['_target_']}.json"
    return json_schema.PARTS


def stale() -> Iterator[Path]:
    """The files that are not up to date, including schemas of removed components."""
    texts = expected()
    yield from (p for p, text in texts.items() if not p.is_file() or p.read_text(encoding="utf-8") != text)
    yield from (p for p in (CONF / json_schema.FOLDER).glob("*.json") if p not in texts)


def main() -> int:
    outdated = sorted(set(stale()))
    if "--check" in sys.argv:
        for path in outdated:
            print(f"not up to date: {path.relative_to(ROOT)}; run make schemas")
        return 1 if outdated else 0
    texts = expected()
    (CONF / json_schema.FOLDER).mkdir(exist_ok=True)
    for path in outdated:
        if path in texts:
            path.write_text(texts[path], encoding="utf-8")
        else:
            path.unlink()
    print(f"{len(outdated)} files written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
