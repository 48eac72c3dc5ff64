"""Resume a sweep where an earlier run of the same command stopped, and report what changed since then."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmops_flows.artifacts.file_locks import try_locked
from llmops_flows.config.experiment_identity import experiment_identity, part_details, part_identities
from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.core.fingerprint import address
from llmops_flows.report import run_files

from . import manifest
from .grid.axes import COMMAND_LINE
from .grid.points import Point
from .grid.sweep_settings import SweepSettings
from .manifest import ExperimentChange, Manifest, PointIdentity
from .outcome import PointOutcome

_LOCK = ".sweep.lock"
_ADDRESS_LENGTH = 16


@dataclass(frozen=True)
class SweepRequest:
    """A sweep to start.

    Attributes:
        points: all points of the sweep.
        folder: the output folder, unless the sweep resumes an earlier run.
        settings: the settings of the sweep.
        command: the overrides that identify the command: those that decide what the points compute.
        folder_given: whether the user gave the folder, so that no other folder is used.
    """

    points: Sequence[Point]
    folder: Path
    settings: SweepSettings
    command: Sequence[str]
    folder_given: bool = False


@dataclass(frozen=True)
class SweepStart:
    """The start of a sweep. Its folder is locked, so that no other process writes to it.

    Attributes:
        folder: the output folder.
        finished: valid outcomes of an earlier run.
        changes: the changes since the last run.
        outdated: finished points that run again because of the changes.
    """

    folder: Path
    finished: Sequence[PointOutcome] = ()
    changes: Sequence[ExperimentChange] = ()
    outdated: Sequence[Point] = ()


@contextmanager
def start_sweep(request: SweepRequest) -> Iterator[SweepStart]:
    """Start in the folder of the last run of this sweep if that run is unfinished, otherwise in a new folder.

    Raises:
        ConfigError: the folder that the user gave holds another sweep, or a sweep is running there.
    """
    current, folder, resume = create_manifest(request), request.folder, request.settings.resume
    with ExitStack() as stack:
        if request.folder_given:
            _lock_given_folder(stack, folder, current.identity)
            last = manifest.read(folder, current.identity) if resume else None
            start = _compare(request.points, folder, last, current)
        else:
            earlier = manifest.earlier_folders(folder.parent.parent, current.identity) if resume else []
            last = manifest.read(earlier[0], current.identity) if earlier else None
            if last is not None and not _complete(earlier[0], last) and _lock(stack, earlier[0]):
                start = _compare(request.points, earlier[0], last, current)
            else:
                changes = manifest.changes(last, current) if last is not None else []
                start = SweepStart(_lock_new_folder(stack, folder), changes=changes)
        run_files.write_json(manifest.path(start.folder, current.identity), current.data())
        yield start


def create_manifest(request: SweepRequest) -> Manifest:
    """The current manifest of the sweep."""
    points: dict[int, PointIdentity] = {}
    data: dict[str, Any] = {}
    for point in request.points:
        if point.experiment is None:
            points[point.number] = PointIdentity(list(point.overrides), "", {})
            continue
        addresses = {name: full[:_ADDRESS_LENGTH] for name, full in part_identities(point.experiment).items()}
        data.update((a, part_details(point.experiment, name)) for name, a in addresses.items() if a not in data)
        points[point.number] = PointIdentity(list(point.overrides), experiment_identity(point.experiment), addresses)
    identity = address([list(request.command), [list(point.overrides) for point in request.points]])
    return Manifest(identity, points, data)


def finished_outcome(folder: Path, number: int, work: str) -> PointOutcome | None:
    """The saved outcome of a point that completed this work without a failure."""
    try:
        summary = json.loads((folder / str(number) / run_files.SUMMARY_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    outcome = PointOutcome(number, summary)
    return outcome if summary.get("work") == work and not outcome.failed else None


def _compare(points: Sequence[Point], folder: Path, last: Manifest | None, current: Manifest) -> SweepStart:
    """The finished points in a folder, and the changes since its last run."""
    if last is None:
        return SweepStart(folder)
    outcomes = {
        number: finished_outcome(folder, number, point.work)
        for number, point in current.points.items()
        if point.work
    }  # fmt: skip
    outdated = [
        point
        for point in points
        if point.same_as is None
        and outcomes.get(point.number, True) is None
        and (before := last.points.get(point.number)) is not None
        and finished_outcome(folder, point.number, before.work) is not None
    ]
    finished = [outcome for outcome in outcomes.values() if outcome is not None]
    return SweepStart(folder, finished, manifest.changes(last, current), outdated)


def _complete(folder: Path, last: Manifest) -> bool:
    """Whether the last run in a folder finished every point."""
    return all(finished_outcome(folder, number, point.work) is not None for number, point in last.points.items())


def _lock(stack: ExitStack, folder: Path) -> bool:
    return stack.enter_context(try_locked(folder / _LOCK))


def _lock_new_folder(stack: ExitStack, folder: Path) -> Path:
    """Create and lock an unused folder. Two sweeps may start in the same second."""
    candidate, number = folder, 1
    while True:
        candidate.mkdir(parents=True, exist_ok=True)
        if not manifest.of_other_sweeps(candidate, "") and _lock(stack, candidate):
            return candidate
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")


def _lock_given_folder(stack: ExitStack, folder: Path, identity: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    problem = ""
    if not _lock(stack, folder):
        problem = f"another sweep is running in {str(folder)!r}"
    elif manifest.of_other_sweeps(folder, identity):
        problem = f"{str(folder)!r} holds another sweep"
    if problem:
        hint = "give another folder: hydra.sweep.dir=FOLDER"
        raise ConfigError(Problem(problem, "hydra.sweep.dir", COMMAND_LINE, hint))
