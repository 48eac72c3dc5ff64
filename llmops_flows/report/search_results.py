"""optimization_results.json: the results of a search, in the folder of its sweep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmops_flows.core.errors import ConfigError, Problem

from .run_files import write_json
from .saved_runs import point_folders

SEARCH_FILE = "optimization_results.json"
Results = Mapping[str, Any]


def write_search_results(folder: Path, results: Results) -> None:
    """Leave the results in a sweep's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SEARCH_FILE, results)


def refuse_other_study(folder: Path, study: str) -> None:
    """Raises ConfigError where points of another search, or of a sweep, lie in a folder: the numbers are the same."""
    try:
        other = str(json.loads((folder / SEARCH_FILE).read_text(encoding="utf-8"))["study"])
    except (OSError, ValueError, KeyError, TypeError):
        other = "a sweep" if point_folders(folder) else study
    if other != study:
        what = f"{str(folder)!r} holds the points of {other}, which this search would overwrite"
        raise ConfigError(
            Problem(what, "hydra.sweep.dir", hint="name another folder, or none: each search has its own")
        )


def best_points(folder: Path) -> frozenset[str]:
    """The names of the points in a sweep's folder that a search found best; none where there was no search."""
    try:
        found = json.loads((folder / SEARCH_FILE).read_text(encoding="utf-8"))
        return frozenset(str(number) for number in found["best"])
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()
