"""Takes a sweep up where an earlier run of the same command left it, and tells what changed since."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_flows.artifacts.file_locks import try_locked
from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.report import run_files

from .manifest import ExperimentChange, Manifest, ManifestPoint, changes, earlier, others, place, read
from .outcome import PointOutcome

if TYPE_CHECKING:
    from .grid.points import Point
    from .grid.settings import SweepSettings

_LOCK = ".sweep.lock"
_SHORT = 16


@dataclass(frozen=True)
class Sweep:
    """A sweep as it was asked for.

    Attributes:
        cells: its points.
        folder: where it goes if it is new.
        rules: how it is run.
        command: what it was asked for by: its overrides without those that say how it is run.
        named: the user named the folder; then it is used, whatever lies there of the same sweep.
    """

    cells: Sequence[Point]
    folder: Path
    rules: SweepSettings
    command: Sequence[str]
    named: bool = False


@dataclass(frozen=True)
class Taken:
    """A sweep that may run now: nobody else writes into its folder.

    Attributes:
        folder: where its results go.
        known: what an earlier run finished, and is still as it was.
        changed: what is not as it was when the sweep ran last.
        again: cells that had been finished, and run again because of what changed.
    """

    folder: Path
    known: Sequence[PointOutcome] = ()
    changed: Sequence[ExperimentChange] = ()
    again: Sequence[Point] = ()


@contextmanager
def taken(sweep: Sweep) -> Iterator[Taken]:
    """The sweep in the folder in which an earlier run left it unfinished, else in a new one.

    Raises:
        ConfigError: another sweep lies in the folder that the user named, or is at work there.
    """
    now, folder, resume = manifest(sweep), sweep.folder, sweep.rules.resume
    with ExitStack() as open:
        before = [folder] if sweep.named else earlier(folder.parent.parent, now.identity)[: 1 if resume else 0]
        last = read(before[0], now.identity) if before else None
        if sweep.named:
            _own(open, folder, now.identity)
            found = _state(sweep.cells, folder, last if resume else None, now)
        elif last is not None and not _whole(before[0], last) and open.enter_context(try_locked(before[0] / _LOCK)):
            found = _state(sweep.cells, before[0], last, now)
        else:
            found = Taken(_fresh(open, folder), changed=changes(last, now) if last is not None else [])
        run_files.write_json(place(found.folder, now.identity), now.data())
        yield found


def manifest(sweep: Sweep) -> Manifest:
    """What the sweep is now."""
    from llmops_flows.config.experiment_identity import experiment_identity, part_details, part_identities
    from llmops_flows.core.fingerprint import address

    points: dict[int, ManifestPoint] = {}
    behind: dict[str, Any] = {}
    for cell in sweep.cells:
        if cell.experiment is None:
            points[cell.number] = ManifestPoint(list(cell.overrides), "", {})
        else:
            named = part_identities(cell.experiment)
            short = {name: found[:_SHORT] for name, found in named.items()}
            behind.update((s, part_details(cell.experiment, name)) for name, s in short.items() if s not in behind)
            points[cell.number] = ManifestPoint(list(cell.overrides), experiment_identity(cell.experiment), short)
    identity = address([list(sweep.command), [list(cell.overrides) for cell in sweep.cells]])
    return Manifest(identity, points, behind)


def finished(folder: Path, number: int, work: str) -> PointOutcome | None:
    """What came of a point that did this work to its end, without a failure; None otherwise."""
    try:
        summary = json.loads((folder / str(number) / run_files.SUMMARY_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    found = PointOutcome(number, summary)
    return found if summary.get("work") == work and not found.failed else None


def _state(cells: Sequence[Point], folder: Path, last: Manifest | None, now: Manifest) -> Taken:
    """What of the cells is finished in a folder."""
    if last is None:
        return Taken(folder)
    outcomes = {n: finished(folder, n, point.work) for n, point in now.points.items() if point.work}
    again = [
        cell for cell in cells
        if cell.same_as is None and outcomes.get(cell.number, True) is None
        and (before := last.points.get(cell.number)) is not None
        and finished(folder, cell.number, before.work) is not None
    ]  # fmt: skip
    return Taken(folder, [found for found in outcomes.values() if found is not None], changes(last, now), again)


def _whole(folder: Path, last: Manifest) -> bool:
    """Whether every point of a sweep was finished, as it was then."""
    return all(finished(folder, number, point.work) is not None for number, point in last.points.items())


def _fresh(open: ExitStack, folder: Path) -> Path:
    """A folder that no sweep has: two may be started in the same second."""
    found, number = folder, 1
    while True:
        found.mkdir(parents=True, exist_ok=True)
        if not others(found, "") and open.enter_context(try_locked(found / _LOCK)):
            return found
        number += 1
        found = folder.with_name(f"{folder.name}-{number}")


def _own(open: ExitStack, folder: Path, identity: str) -> None:
    """Make sure that a folder that the user named may be used."""
    folder.mkdir(parents=True, exist_ok=True)
    hint = "name another folder: hydra.sweep.dir=FOLDER"
    if not open.enter_context(try_locked(folder / _LOCK)):
        raise ConfigError(Problem(f"a sweep is at work in {str(folder)!r}", "hydra.sweep.dir", "command line", hint))
    if others(folder, identity):
        raise ConfigError(Problem(f"{str(folder)!r} holds another sweep", "hydra.sweep.dir", "command line", hint))
