"""Points that take their questions block by block: one that is worse than the best beyond doubt stops."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_flows.core.errors import FlowError
from llmops_flows.core.record import question_id
from llmops_flows.engine.run import Run

from .in_process import experiment, kept_at, lanes, waves, write
from .outcome import PointOutcome

if TYPE_CHECKING:
    from llmops_flows.core.record import Record
    from llmops_flows.engine.plan import PlanCheck

    from .grid.points import Point
    from .grid.settings import SweepSettings
    from .progress import Pace


@dataclass
class RacingPoint:
    """A point in the race. `asked`: how many of its records went through; `behind`: the point that it lost to."""

    cell: Point
    lane: Run
    block: int
    asked: int = 0
    behind: int | None = None

    @property
    def running(self) -> bool:
        return self.behind is None and self.asked < len(self.lane.records)

    @property
    def next(self) -> Run:
        """Its next block, as a run of its own name."""
        return replace(self.lane, records=self.lane.records[self.asked : self.asked + self.block])

    @property
    def rest(self) -> Run:
        """What it was not asked."""
        return replace(self.lane, records=self.lane.records[self.asked :])

    @property
    def done(self) -> list[Record]:
        return [record for record in self.lane.records if record.error is not None or record.answer is not None]


@dataclass
class EarlyStopping:
    """All points of a sweep, after each block judged by one metric.

    Attributes:
        folder: where the results go; points that were finished there before run along as they are.
        rules: `stop`, the metric, and `block`, how many questions are asked between two looks.
    """

    cells: Sequence[Point]
    folder: Path
    rules: SweepSettings
    pace: Pace
    foreseen: PlanCheck | None = None
    racers: list[RacingPoint] = field(default_factory=list)

    def run(self) -> Generator[PointOutcome, None, None]:
        """What came of each point, when all are through or have stopped. An interrupt keeps what is done."""
        from llmops_flows.config.experiment_identity import experiment_identity

        for cell, lane in zip(self.cells, lanes(self.cells), strict=True):
            self.racers.append(RacingPoint(cell, lane, self.rules.block * experiment(cell).settings.samples))
        looks = max((len(one.lane.records) - 1) // one.block for one in self.racers)
        try:
            while any(one.running for one in self.racers):
                self._block()
                self._look(max(1, looks))
        except KeyboardInterrupt:
            for one in self.racers:
                if one.done:
                    write(one.cell, self.folder, one.lane, one.done)
            raise
        self._saved()
        for one in self.racers:
            records = one.lane.records[: one.asked]
            stopped = {"asked": one.asked, "of": len(one.lane.records), "behind": one.behind}
            if one.behind is None:
                yield write(one.cell, self.folder, one.lane, records, experiment_identity(experiment(one.cell)))
            else:
                yield write(one.cell, self.folder, one.lane, records, more={"stopped": stopped})

    def _block(self) -> None:
        from llmops_flows.config.load import open_runner

        of = {one.cell.number: one for one in self.racers if one.running}
        for wave in waves([one.cell for one in of.values()], self.rules.block):
            parts = [of[cell.number].next for cell in wave]
            with open_runner(experiment(wave[0]), [self.pace]) as (runner, _):
                runner.run_all(parts)
            if self.foreseen is not None:
                self.foreseen.add(parts, kept_at(wave))
            for cell, part in zip(wave, parts, strict=True):
                of[cell.number].asked += len(part.records)

    def _look(self, looks: int) -> None:
        """Stop the running points that are clearly worse."""
        from llmops_flows.report.statistics.clearly_worse import clearly_worse

        assert self.rules.stop is not None
        scores = {one.cell.number: _scores(one.lane.records[: one.asked], self.rules.stop) for one in self.racers}
        asked = {row_question for found in scores.values() for row_question in found}
        scores = {**self._before(asked), **scores}
        behind = clearly_worse(scores, self.rules.stop, looks)
        for one in self.racers:
            if one.running:
                one.behind = behind.get(one.cell.number)

    def _before(self, asked: set[str]) -> dict[int, dict[str, float]]:
        """The scores of points that were finished before, on the questions that were asked by now."""
        from llmops_flows.report.saved_runs import point_folders, read_run, row_question

        ours, found = {one.cell.number for one in self.racers}, {}
        for folder in point_folders(self.folder):
            if (number := int(folder.name)) in ours:
                continue
            try:
                rows = read_run(folder).rows
            except FlowError:  # it has no results
                continue
            scores = [(row_question(row), (row.get("scores") or {}).get(self.rules.stop)) for row in rows]
            found[number] = _means([(name, score) for name, score in scores if name in asked])
        return found

    def _saved(self) -> None:
        """Tell who stopped, and what that saved."""
        from llmops_flows.config.load import open_runner

        of = {one.cell.number: one for one in self.racers if one.behind is not None}
        new: dict[str, set[str]] = {}
        for wave in waves([one.cell for one in of.values()]):
            with open_runner(experiment(wave[0])) as (runner, _):
                for name, count in runner.plan([of[cell.number].rest for cell in wave]).items():
                    new.setdefault(name, set()).update(count.new)
        for one in of.values():
            print(
                f"point {one.cell.number} ({' '.join(one.cell.overrides)}) stopped after {one.asked} of "
                f"{len(one.lane.records)} answers: worse than point {one.behind} by {self.rules.stop} beyond doubt"
            )
        counts = ", ".join(f"{name} {len(keys)}" for name, keys in new.items() if keys)
        if of:
            print(f"not computed for that: {counts or 'nothing, all of it was known'}\n")


def _scores(records: Sequence[Record], metric: str) -> dict[str, float]:
    """Question to the mean score of its samples."""
    fine = (record for record in records if record.error is None)
    return _means([(question_id(record.id, record.sample), record.scores.get(metric)) for record in fine])


def _means(scores: Sequence[tuple[str, float | None]]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for row_question, score in scores:
        if score is not None:
            found.setdefault(row_question, []).append(score)
    return {row_question: sum(values) / len(values) for row_question, values in found.items()}
