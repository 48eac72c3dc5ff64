"""The variants of a sweep as plain data, read from the folders that they left behind."""

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
_FIRST = "run one first: python -m llmops_flows -m flow=… KEY=A,B"


@dataclass(frozen=True)
class SavedRun:
    """One point of a sweep, or any single run.

    Attributes:
        name: a short label, unique among the variants shown together.
        run: the run's id ("" when it is not known).
        config: the resolved config.
        rows: the lines of results.jsonl, as `report.summary.row` makes them.
        summary: what summary.json holds.
        choices: config group to the option that was chosen for it, as far as that is known.
        folder: where it was read from.
    """

    name: str
    run: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None

    def in_flow(self, stage: str) -> bool:
        """Whether a stage is part of the flow; the others are evaluators, on which no answer waits."""
        return stage.partition(".")[0] not in (self.config.get("evaluator") or {})


def row_question(row: Mapping[str, Any]) -> str:
    """The id of a row's question."""
    return question_id(str(row.get("id", "")), row.get("sample"))


# -- output folders --------------------------------------------------------------------------------------------------


def read_run(folder: Path, name: str = "") -> SavedRun:
    """The variant of an output folder (results.jsonl, config.json, summary.json; the first one must be there).

    Raises:
        FlowError: the folder holds no results, or a file of it cannot be read.
    """
    if (folder / FAILURE_FILE).is_file():
        raise FlowError(_file(folder, FAILURE_FILE, str.strip))
    rows = _file(folder, "results.jsonl", lambda text: [json.loads(line) for line in text.splitlines() if line])
    config, summary = (_file(folder, file, json.loads, missing={}) for file in _FILES[1:])
    chosen = summary.get("choices") or _choices(folder)
    chosen = {str(g): str(option) for g, option in chosen.items() if option and not g.startswith("hydra/")}
    return SavedRun(name or folder.name, str(summary.get("run") or ""), config, rows, summary, chosen, folder)


def read_sweep(folder: Path) -> tuple[list[SavedRun], dict[str, str]]:
    """The points of a sweep's folder in the order of their numbers; for those without results, what is wrong.

    Raises:
        FlowError: the folder holds no point at all.
    """
    found, lost = [], {}
    for point in point_folders(folder):
        try:
            found.append(read_run(point))
        except FlowError as error:
            lost[point.name] = str(error)
    if not found:
        told = "".join(f"\n  {name}: {why}" for name, why in lost.items())
        raise FlowError(f"there is no finished point of a sweep in {str(folder)!r}; {_FIRST}{told}")
    return found, lost


def latest_sweep(root: Path) -> Path:
    """The folder of the sweep that was run last: `DATE/TIME` below `root`.

    An earlier one that was gone on with since counts: its `multirun.yaml` was written then.

    Raises:
        FlowError: there is none.
    """
    sweeps = [time for date in _folders(root) for time in _folders(date) if point_folders(time)]
    if not sweeps:
        raise FlowError(f"there is no sweep in {str(root)!r}; {_FIRST}")
    return max(sweeps, key=lambda path: (_begun(path), path.parent.name, path.name))


def _begun(read_sweep: Path) -> int:
    """When a sweep was begun or gone on with; 0 where nothing tells."""
    try:
        return (read_sweep / "multirun.yaml").stat().st_mtime_ns
    except OSError:
        return 0


def point_folders(folder: Path) -> list[Path]:
    """The folders of a sweep's points in the order of their numbers, whatever lies in them."""
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
        raise FlowError(f"there is no {name} in {str(folder)!r}: the run did not end, or is still at work") from error
    except (OSError, ValueError) as error:
        raise FlowError(f"cannot read {str(path)!r}: {error}") from error


def _choices(folder: Path) -> Mapping[str, Any]:
    """Group to chosen option, from what Hydra wrote down."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        written = (folder / ".hydra" / "hydra.yaml").read_text(encoding="utf-8")
        found: Mapping[str, Any] = yaml.load(written, Loader=loader)["hydra"]["runtime"]["choices"]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return {}
    return found


SWEEPS_FOLDER = Path("multirun")
