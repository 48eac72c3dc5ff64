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
    """Write the results into the folder of the sweep."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SEARCH_FILE, results)


def refuse_other_study(folder: Path, study: str) -> None:
    """Raises ConfigError if the folder holds points of another search or of a sweep, which would be overwritten."""
    try:
        other = str(json.loads((folder / SEARCH_FILE).read_text(encoding="utf-8"))["study"])
    except (OSError, ValueError, KeyError, TypeError):
        other = "a sweep" if point_folders(folder) else study
    if other != study:
        what = f"{str(folder)!r} holds the points of {other}, which this search would overwrite"
        raise ConfigError(
            Problem(what, "hydra.sweep.dir", hint="choose another folder, or leave it out: each search has its own")
        )


def best_points(folder: Path) -> frozenset[str]:
    """The names of the best points of a search; empty for other sweeps."""
    try:
        results = json.loads((folder / SEARCH_FILE).read_text(encoding="utf-8"))
        return frozenset(str(number) for number in results["best"])
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()
