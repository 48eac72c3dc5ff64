"""Run points block by block, and stop each one that is clearly worse than the best."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from llmops_flows.config.experiment_identity import experiment_identity
from llmops_flows.config.load import open_runner
from llmops_flows.core.errors import FlowError
from llmops_flows.core.record import Record, question_id
from llmops_flows.engine.plan import PlanCheck
from llmops_flows.engine.run import Run
from llmops_flows.report import saved_runs
from llmops_flows.report.statistics.clearly_worse import clearly_worse

from .grid.points import Point
from .grid.sweep_settings import SweepSettings
from .in_process import batches, new_run, store_key, write_complete
from .outcome import PointOutcome
from .point_results import write_results
from .sweep_progress import SweepProgress


@dataclass
class PointProgress:
    """The progress of a point.

    Attributes:
        block: the number of records between two comparisons.
        processed: the number of processed records.
        behind: the number of the better point, if this point was stopped.
    """

    point: Point
    run: Run
    block: int
    processed: int = 0
    behind: int | None = None

    @property
    def running(self) -> bool:
        return self.behind is None and self.processed < len(self.run.records)

    @property
    def next_block(self) -> Run:
        return replace(self.run, records=self.run.records[self.processed : self.processed + self.block])

    @property
    def rest(self) -> Run:
        """A run over the records that are not processed."""
        return replace(self.run, records=self.run.records[self.processed :])


@dataclass
class EarlyStopping:
    """The points of a sweep, compared by the metric `settings.stop` after every `settings.block` questions.

    The comparisons include points that an earlier run finished in `folder`.
    """

    points: Sequence[Point]
    folder: Path
    settings: SweepSettings
    progress: SweepProgress
    check: PlanCheck | None = None
    states: list[PointProgress] = field(default_factory=list)

    @property
    def metric(self) -> str:
        assert self.settings.stop is not None
        return self.settings.stop

    def run(self) -> Generator[PointOutcome, None, None]:
        """Yield the outcome of each point once all are finished or stopped. An interrupt saves the complete records."""
        for point in self.points:
            block = self.settings.block * point.valid_experiment.settings.samples
            self.states.append(PointProgress(point, new_run(point), block))
        comparisons = max((len(state.run.records) - 1) // state.block for state in self.states)
        try:
            while any(state.running for state in self.states):
                self._run_block()
                self._stop_worse_points(max(1, comparisons))
        except KeyboardInterrupt:
            for state in self.states:
                complete = [r for r in state.run.records if r.error is not None or r.answer is not None]
                write_complete(state.point, self.folder, state.run, complete)
            raise
        self._print_stopped()
        for state in self.states:
            records = state.run.records[: state.processed]
            if state.behind is None:
                identity = experiment_identity(state.point.valid_experiment)
                yield write_results(state.point, self.folder, state.run, records, identity)
            else:
                stopped = {"answers": state.processed, "of": len(state.run.records), "behind": state.behind}
                yield write_results(state.point, self.folder, state.run, records, stopped=stopped)

    def _run_block(self) -> None:
        running = {state.point.number: state for state in self.states if state.running}
        for batch in batches([state.point for state in running.values()], self.settings.block):
            runs = [running[point.number].next_block for point in batch]
            with open_runner(batch[0].valid_experiment, [self.progress]) as (runner, _):
                runner.run_all(runs)
            if self.check is not None:
                self.check.add(runs, store_key(batch))
            for point, run in zip(batch, runs, strict=True):
                running[point.number].processed += len(run.records)

    def _stop_worse_points(self, comparisons: int) -> None:
        """Stop running points that are clearly worse. `comparisons`: the total number of comparisons."""
        scores = {s.point.number: _scores(s.run.records[: s.processed], self.metric) for s in self.states}
        questions = {question for scores_of_point in scores.values() for question in scores_of_point}
        worse = clearly_worse({**self._finished_scores(questions), **scores}, self.metric, comparisons)
        for state in self.states:
            if state.running:
                state.behind = worse.get(state.point.number)

    def _finished_scores(self, questions: set[str]) -> dict[int, dict[str, float]]:
        """The scores on these questions of points that an earlier run finished."""
        running = {state.point.number for state in self.states}
        scores: dict[int, dict[str, float]] = {}
        for folder in saved_runs.point_folders(self.folder):
            if (number := int(folder.name)) in running:
                continue
            try:
                rows = saved_runs.read_run(folder).rows
            except FlowError:  # the point has no results
                continue
            pairs = [(saved_runs.row_question(row), (row.get("scores") or {}).get(self.metric)) for row in rows]
            scores[number] = _means((question, score) for question, score in pairs if question in questions)
        return scores

    def _print_stopped(self) -> None:
        """Print which points stopped, and the stage results that were not computed."""
        stopped = {state.point.number: state for state in self.states if state.behind is not None}
        if not stopped:
            return
        avoided: dict[str, set[str]] = {}
        for batch in batches([state.point for state in stopped.values()]):
            with open_runner(batch[0].valid_experiment) as (runner, _):
                for name, plan in runner.plan([stopped[point.number].rest for point in batch]).items():
                    avoided.setdefault(name, set()).update(plan.new)
        for state in stopped.values():
            print(
                f"point {state.point.number} ({' '.join(state.point.overrides)}) stopped after {state.processed} of "
                f"{len(state.run.records)} answers: clearly worse than point {state.behind} by {self.metric}"
            )
        counts = ", ".join(f"{name} {len(keys)}" for name, keys in avoided.items() if keys)
        print(f"not computed: {counts or 'nothing, every result was cached'}\n")


def _scores(records: Sequence[Record], metric: str) -> dict[str, float]:
    """Question to the mean score of its samples."""
    succeeded = (record for record in records if record.error is None)
    return _means((question_id(record.id, record.sample), record.scores.get(metric)) for record in succeeded)


def _means(scores: Iterable[tuple[str, float | None]]) -> dict[str, float]:
    groups: dict[str, list[float]] = {}
    for question, score in scores:
        if score is not None:
            groups.setdefault(question, []).append(score)
    return {question: sum(group) / len(group) for question, group in groups.items()}
