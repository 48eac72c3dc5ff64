"""Write the results of a point to its folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmops_flows.core.errors import FlowError
from llmops_flows.core.record import Record
from llmops_flows.engine.run import Run
from llmops_flows.report import run_files, saved_runs
from llmops_flows.report.summary import results_row, summarize

from .grid.points import Point
from .outcome import PointOutcome


def write_results(
    point: Point,
    folder: Path,
    run: Run,
    records: Sequence[Record],
    work: str | None = None,
    *,
    stopped: Mapping[str, Any] | None = None,
) -> PointOutcome:
    """Write the results of a point to `folder/NUMBER`.

    Args:
        records: the records of the run that are complete.
        work: the address of the point's work; None if it is not complete.
        stopped: for a point that early stopping ended: after how many answers, and behind which point.
    """
    seconds = sum(span.seconds for record in records for span in record.spans)
    summary = {**_identity(point), "run": run.id, "work": work, **summarize(records, seconds=seconds)}
    if stopped is not None:
        summary["stopped"] = stopped
    return _write(point, folder, map(results_row, records), summary)


def copy_results(point: Point, folder: Path) -> PointOutcome:
    """Copy the results of the point that does the same work to a point, with the config of the latter."""
    try:
        original = saved_runs.read_run(folder / str(point.same_as))
    except FlowError as error:
        return PointOutcome(point.number, failure=f"it does the same work as point {point.same_as}: {error}")
    return _write(point, folder, original.rows, {**original.summary, **_identity(point)})


def _write(point: Point, folder: Path, rows: Iterable[Mapping[str, Any]], summary: Mapping[str, Any]) -> PointOutcome:
    try:
        run_files.write_run_rows(folder / str(point.number), rows, summary, point.valid_experiment.config)
    except OSError as error:
        return PointOutcome(point.number, failure=f"the results cannot be written: {error}")
    return PointOutcome(point.number, summary)


def _identity(point: Point) -> dict[str, Any]:
    experiment = point.valid_experiment
    return {"flow": experiment.flow.name, "choices": experiment.choices, "overrides": list(point.overrides)}
