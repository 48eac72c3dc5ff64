"""Saved runs: the output folders of single runs and of the points of a sweep, read as plain data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmops_flows.core.errors import FlowError
from llmops_flows.core.record import question_id

from .run_files import FAILURE_FILE, SUMMARY_FILE

_FILES = ("results.jsonl", "config.json", SUMMARY_FILE)
SWEEPS_FOLDER = Path("multirun")
_RUN_FIRST = "run one first: python -m llmops_flows -m flow=… KEY=A,B"


@dataclass(frozen=True)
class SavedRun:
    """One point of a sweep, or any single run.

    Attributes:
        name: a short label, unique among the runs that are shown together.
        run: the id of the run ("" where it is unknown).
        config: the resolved config.
        rows: the lines of results.jsonl, as `report.summary.results_row` makes them.
        summary: the content of summary.json.
        choices: config group to the chosen option, where known.
        folder: the output folder.
    """

    name: str
    run: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None

    def in_flow(self, stage: str) -> bool:
        """Whether a stage is part of the flow. The others are evaluators, which do not delay an answer."""
        return stage.partition(".")[0] not in (self.config.get("evaluator") or {})


def row_question(row: Mapping[str, Any]) -> str:
    """The id of a row's question."""
    return question_id(str(row.get("id", "")), row.get("sample"))


# -- output folders --------------------------------------------------------------------------------------------------


def read_run(folder: Path, name: str = "") -> SavedRun:
    """The saved run of an output folder: results.jsonl, which must exist, config.json and summary.json.

    Raises:
        FlowError: the folder has no results, or one of its files cannot be read.
    """
    if (folder / FAILURE_FILE).is_file():
        raise FlowError(_file(folder, FAILURE_FILE, str.strip))
    rows = _file(folder, "results.jsonl", lambda text: [json.loads(line) for line in text.split("\n") if line])
    config, summary = (_file(folder, file, json.loads, missing={}) for file in _FILES[1:])
    choices = summary.get("choices") or _choices(folder)
    choices = {str(g): str(option) for g, option in choices.items() if option and not g.startswith("hydra/")}
    return SavedRun(name or folder.name, str(summary.get("run") or ""), config, rows, summary, choices, folder)


def read_sweep(folder: Path) -> tuple[list[SavedRun], dict[str, str]]:
    """The points in the folder of a sweep by number, and the cause for each point without results.

    Raises:
        FlowError: no point has results.
    """
    runs, failures = [], {}
    for point in point_folders(folder):
        try:
            runs.append(read_run(point))
        except FlowError as error:
            failures[point.name] = str(error)
    if not runs:
        causes = "".join(f"\n  {name}: {cause}" for name, cause in failures.items())
        raise FlowError(f"no finished point of a sweep in {str(folder)!r}; {_RUN_FIRST}{causes}")
    return runs, failures


def latest_sweep(root: Path) -> Path:
    """The folder of the sweep that was started or resumed last: `DATE/TIME` below `root`.

    Every start of a sweep writes its `multirun.yaml`.

    Raises:
        FlowError: no sweep below `root`.
    """
    sweeps = [time for date in _folders(root) for time in _folders(date) if point_folders(time)]
    if not sweeps:
        raise FlowError(f"no sweep in {str(root)!r}; {_RUN_FIRST}")
    return max(sweeps, key=lambda path: (_started(path), path.parent.name, path.name))


def _started(sweep: Path) -> int:
    """When a sweep was started or resumed; 0 where unknown."""
    try:
        return (sweep / "multirun.yaml").stat().st_mtime_ns
    except OSError:
        return 0


def point_folders(folder: Path) -> list[Path]:
    """The folders of the points of a sweep by number, with or without results."""
    return sorted((path for path in _folders(folder) if path.name.isdigit()), key=lambda path: int(path.name))


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def _file(folder: Path, name: str, parse: Callable[[str], Any], *, missing: Any = None) -> Any:
    path = folder / name
    if missing is not None and not path.is_file():
        return missing
    try:
        return parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FlowError(f"{name} not found in {str(folder)!r}: the run did not finish, or is still running") from error
    except (OSError, ValueError) as error:
        raise FlowError(f"{str(path)!r} cannot be read: {error}") from error


def _choices(folder: Path) -> Mapping[str, Any]:
    """Config group to chosen option, from hydra.yaml."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = (folder / ".hydra" / "hydra.yaml").read_text(encoding="utf-8")
        choices: Mapping[str, Any] = yaml.load(text, Loader=loader)["hydra"]["runtime"]["choices"]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return {}
    return choices
