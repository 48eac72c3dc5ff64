"""A sweep: all its points side by side in this process, each thing computed once; results in a folder a point."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_flows.core.errors import FlowError
from llmops_flows.core.lane import Lane

if TYPE_CHECKING:
    from llmops_flows.config.cells import Cell
    from llmops_flows.core.events import Sink

WAVE = 5_000
"""How many records walk side by side: more would only take memory."""


def run(cells: Sequence[Cell], folder: Path) -> int:
    """Run the cells of a sweep. Returns 0; 1 when something failed in a point; 2 when a point's config is wrong.

    A point that is wrong or fails stops no other. Points that do the same run once; each leaves its own results.
    """
    begun = time.perf_counter()
    code = walk(cells, folder, {})
    _end(cells, folder, time.perf_counter() - begun)
    return code


def walk(cells: Sequence[Cell], folder: Path, done: dict[int, Any]) -> int:
    """Run cells and leave the results of each in `folder/NUMBER`. Returns the code of `run`.

    `done` is what earlier calls did of the same sweep: cells may do the same as one of those.
    """
    from llmops_flows.sinks.console import progress

    codes = [0, *(2 for cell in cells if cell.experiment is None)]
    for wave in waves([cell for cell in cells if cell.experiment is not None and cell.same_as is None]):
        codes += _wave(wave, folder, progress(), done)
    for cell in cells:
        if cell.same_as is not None:
            _write(cell, folder, *done[cell.same_as])
    return max(codes)


def waves(cells: Sequence[Cell]) -> Iterator[list[Cell]]:
    """Cells that walk together: of one way of running, and not too many records at once."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(_means(cell), []).append(cell)
    for group in groups.values():
        wave: list[Cell] = []
        size = 0
        for cell in group:
            count = len(_rows(cell)) * _experiment(cell).settings.samples
            if wave and size + count > WAVE:
                yield wave
                wave, size = [], 0
            wave.append(cell)
            size += count
        if wave:
            yield wave


def lanes(cells: Sequence[Cell]) -> list[Lane]:
    """A lane for each cell, with fresh records."""
    from llmops_flows.config.questions import records

    found = []
    for cell in cells:
        experiment = _experiment(cell)
        asked = records(_rows(cell), experiment.settings.samples)
        found.append(
            Lane(
                experiment.flow,
                asked,
                experiment.evaluators,
                config=experiment.config,
                choices=experiment.choices,
            )
        )
    return found


def _experiment(cell: Cell) -> Any:
    assert cell.experiment is not None
    return cell.experiment


def _rows(cell: Cell) -> list[dict[str, Any]]:
    settings = _experiment(cell).settings
    return [{"question": settings.question}] if settings.question is not None else settings.questions.rows()


def _means(cell: Cell) -> str:
    """What cells must share to be run by one runner: store, cache, tenant, home, tracers."""
    experiment = _experiment(cell)
    parts = [experiment.cache, experiment.store, *experiment.tracers.values()]
    marks = [part.configuration if part is not None else "" for part in parts]
    return "\n".join([*marks, experiment.settings.tenant, str(experiment.settings.home)])


def _wave(wave: Sequence[Cell], folder: Path, sinks: Sequence[Sink], done: dict[int, Any]) -> list[int]:
    from llmops_flows.config.load import opened

    running, codes = lanes(wave), []
    begun = time.perf_counter()
    with opened(_experiment(wave[0]), sinks) as (runner, _):
        try:
            runner.run_all(running)
        except KeyboardInterrupt:
            for cell, lane in zip(wave, running, strict=True):
                finished = [record for record in lane.records if record.answer is not None]
                if finished:
                    _write(cell, folder, lane, finished, time.perf_counter() - begun)
            raise
    for cell, lane in zip(wave, running, strict=True):
        seconds = sum(span.seconds for record in lane.records for span in record.spans)
        codes.append(_write(cell, folder, lane, lane.records, seconds))
        done[cell.number] = (lane, lane.records, seconds)
    return codes


def _write(cell: Cell, folder: Path, lane: Lane, records: Sequence[Any], seconds: float) -> int:
    from llmops_flows.report import files
    from llmops_flows.report.summary import summarize

    experiment = _experiment(cell)
    about = {"flow": experiment.flow.name, "run": lane.run, "choices": experiment.choices}
    about["overrides"] = list(cell.overrides)
    summary = {**about, **summarize(records, seconds=seconds)}
    files.write(folder / str(cell.number), records, summary, experiment.config)
    errors = summary["errors"]
    return 1 if errors["records"] or errors["evaluations"] else 0


def _end(cells: Sequence[Cell], folder: Path, seconds: float) -> None:
    """The leaderboard, what was wrong, and where it all lies."""
    from llmops_flows.report import board_text, leaderboard, variants

    same = [cell for cell in cells if cell.same_as is not None]
    wrong = [cell for cell in cells if cell.experiment is None]
    if len(wrong) < len(cells):
        found, lost = variants.sweep(folder)
        try:
            print(board_text.text(leaderboard.board(found, lost=lost)), end="")
        except FlowError as error:
            print(error)
    for cell in wrong:
        print(f"point {cell.number} ({' '.join(cell.overrides)}) was not run:")
        print("\n".join(f"  - {fault}" for fault in cell.faults))
    told = f"; {len(same)} do the same as another and ran once with it" if same else ""
    print(f"\n{len(cells) - len(wrong)} of {len(cells)} points ran in {seconds:.1f} s{told}")
    print(f"{_near(folder)}   python -m llmops_flows board --report")


def _near(folder: Path) -> Path:
    try:
        return folder.relative_to(Path.cwd())
    except ValueError:
        return folder
