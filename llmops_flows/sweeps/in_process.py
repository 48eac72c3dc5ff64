"""Points of a sweep in one process: side by side, each thing computed once; results in a folder a point."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_flows.core.errors import FlowError
from llmops_flows.engine.run import Run

from .outcome import PointOutcome

if TYPE_CHECKING:
    from llmops_flows.config.experiment import Experiment
    from llmops_flows.core.record import Record
    from llmops_flows.engine.plan import PlanCheck
    from llmops_flows.engine.runner import Runner

    from .grid.points import Point

WAVE = 5_000
"""How many records walk side by side: more would only take memory."""


def waves(cells: Sequence[Point], most: int | None = None) -> Iterator[list[Point]]:
    """Cells that walk together: of one way of running, and not too many records at once.

    most: how many questions of a cell walk at once; None: all of them.
    """
    from llmops_flows.config.experiment_identity import question_rows

    groups: dict[str, list[Point]] = {}
    for cell in cells:
        groups.setdefault(means(experiment(cell)), []).append(cell)
    for group in groups.values():
        wave: list[Point] = []
        size = 0
        for cell in group:
            settings = experiment(cell).settings
            asked = len(question_rows(settings))
            count = min(asked, most or asked) * settings.samples
            if wave and size + count > WAVE:
                yield wave
                wave, size = [], 0
            wave.append(cell)
            size += count
        if wave:
            yield wave


def lanes(cells: Sequence[Point]) -> list[Run]:
    """A lane for each cell, with fresh records."""
    from llmops_flows.config.experiment_identity import question_rows
    from llmops_flows.config.questions import records

    found = []
    for one in map(experiment, cells):
        asked = records(question_rows(one.settings), one.settings.samples)
        found.append(Run(one.flow, asked, one.evaluators, config=one.config, choices=one.choices))
    return found


def experiment(cell: Point) -> Experiment:
    """What a cell runs: it is not a wrong one."""
    assert cell.experiment is not None
    return cell.experiment


def means(experiment: Experiment) -> str:
    """What experiments must share to be run by one runner: store, cache, tenant, home, tracers."""
    parts = [experiment.cache, experiment.store, *experiment.tracers.values()]
    marks = [part.configuration if part is not None else "" for part in parts]
    return "\n".join([*marks, experiment.settings.tenant, str(experiment.settings.home)])


def kept_at(wave: Sequence[Point]) -> str | None:
    """Where other waves find the answers of a wave; None where they do not."""
    from llmops_flows.components.store.memory import Memory

    one = experiment(wave[0])
    if one.store is None or isinstance(one.store, Memory) or not one.cache.enabled or one.cache.refresh:
        return None
    return one.store.configuration


def walk(
    runner: Runner, cells: Sequence[Point], folder: Path, foreseen: PlanCheck | None = None
) -> Iterator[PointOutcome]:
    """Run cells side by side, and leave the results of each in `folder/NUMBER`; an interrupt keeps what is done."""
    from llmops_flows.config.experiment_identity import experiment_identity

    running, works = lanes(cells), [experiment_identity(experiment(cell)) for cell in cells]
    try:
        runner.run_all(running)
    except KeyboardInterrupt:
        for cell, lane in zip(cells, running, strict=True):
            finished = [record for record in lane.records if record.answer is not None]
            if finished:
                write(cell, folder, lane, finished)
        raise
    if foreseen is not None:
        foreseen.add(running, kept_at(cells))
    for cell, lane, done in zip(cells, running, works, strict=True):
        yield write(cell, folder, lane, lane.records, done)


def copy(cell: Point, folder: Path) -> PointOutcome:
    """The results of a cell that does the same as one that ran: those of the other, under its own config."""
    from llmops_flows.report import saved_runs

    try:
        found = saved_runs.read_run(folder / str(cell.same_as))
    except FlowError as error:
        return PointOutcome(cell.number, failure=f"it does the same as point {cell.same_as}: {error}")
    return _left(cell, folder, found.rows, {**found.summary, **_about(cell)})


def write(
    cell: Point,
    folder: Path,
    lane: Run,
    records: Sequence[Record],
    work: str | None = None,
    *,
    more: Mapping[str, Any] | None = None,
) -> PointOutcome:
    """Leave the results of a cell.

    Args:
        records: those of the lane that are done.
        work: the address of what it did; None when it was not done to its end.
        more: further facts for its summary.
    """
    from llmops_flows.report.summary import results_row, summarize

    seconds = sum(span.seconds for record in records for span in record.spans)
    about = {**_about(cell), "run": lane.id, "work": work, **(more or {})}
    return _left(cell, folder, map(results_row, records), {**about, **summarize(records, seconds=seconds)})


def _left(cell: Point, folder: Path, rows: Iterable[Mapping[str, Any]], summary: Mapping[str, Any]) -> PointOutcome:
    from llmops_flows.report import run_files

    try:
        run_files.write_run_rows(folder / str(cell.number), rows, summary, experiment(cell).config)
    except OSError as error:
        return PointOutcome(cell.number, failure=f"its results could not be written: {error}")
    return PointOutcome(cell.number, summary)


def _about(cell: Point) -> Mapping[str, Any]:
    found = experiment(cell)
    return {"flow": found.flow.name, "choices": found.choices, "overrides": list(cell.overrides)}
