"""The search loop: Optuna proposes points, which run batch by batch, and each result is stored in the study."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.integrations.optuna import FAILED, PRUNED, WAITING, OptunaStudy, StudyPlan, StudyTrial
from llmops_flows.report import search_results
from llmops_flows.report.run_files import SUMMARY_FILE
from llmops_flows.report.text import search_text

from ..grid.composer import PointConfig
from ..grid.points import Point, build_point
from ..outcome import PointOutcome
from ..sweep import exit_code
from .definition import Search
from .result import SearchResult, search_result

RunPoints = Callable[[Sequence[Point], Path], Iterator[PointOutcome]]
"""Runs points, writes the results of each to `FOLDER/NUMBER`, and yields each outcome as soon as it is known."""
Overrides = tuple[str, ...]
MAX_USELESS_PROPOSALS = 50
"""Maximum number of proposals per batch that are known points, or excluded by `sweep.where`."""


def run_search(search: Search, folder: Path, run_points: RunPoints) -> int:
    """Run `n_trials` points, and print the results. Returns the exit code of a sweep.

    Each result is stored in the study before the next batch is proposed, so the same command can continue the search.
    """
    began = time.perf_counter()
    with closing(_open_study(search)) as study:
        loop = SearchLoop(search, study, folder, run_points)
        try:
            loop.run()
        except KeyboardInterrupt as interrupt:
            loop.save()
            progress = f"after {len(loop.results)} of {search.settings.n_trials} points"
            interrupt.args = (f"interrupted {progress}; the same command continues from here",)
            raise
        print(search_text.format_search(folder, loop.data(), loop.ended, time.perf_counter() - began), end="")
    return exit_code(loop.outcomes)


def _open_study(search: Search) -> OptunaStudy:
    settings = search.settings
    plan = StudyPlan(
        parameters=search.space.parameters,
        directions=[objective.maximize for objective in search.objectives],
        sampler=settings.sampler,
        options=settings.sampler_options,
        seed=settings.seed,
        generation=max(4, min(50, settings.n_trials // 4)),
    )
    return OptunaStudy(search.study, settings.storage or str(search.home / "optuna.db"), plan, search.identity)


@dataclass
class SearchLoop:
    """The state of a running search.

    Attributes:
        folder: the output folder.
        results: overrides of each finished point, of this run or an earlier one, to its result.
        outcomes: the outcomes of the points of this run.
        ended: why the search ended with fewer points than requested.
    """

    search: Search
    study: OptunaStudy
    folder: Path
    run_points: RunPoints
    results: dict[Overrides, SearchResult] = field(default_factory=dict)
    outcomes: list[PointOutcome] = field(default_factory=list)
    ended: str = ""
    _excluded: set[Overrides] = field(default_factory=set)
    _numbers: dict[str, int] = field(default_factory=dict)

    def run(self) -> None:
        """Propose and run points until there are `n_trials`, or no new points."""
        waiting = self._resume()
        self.save()
        if waiting:
            self._run_batch(waiting, len(waiting))
        while (missing := self.search.settings.n_trials - len(self.results)) > 0:
            if self.ended or self._is_exhausted(0):
                break
            before, size = len(self.results), min(missing, self.search.settings.n_jobs)
            self._run_batch(self._proposals(size), size)
            if len(self.results) == before and not self.ended:
                self.ended = f"{MAX_USELESS_PROPOSALS} proposals in a row were known, or excluded by sweep.where"
        if self._excluded and not self.results:
            problem = Problem("no point fulfills the constraint", "sweep.where", hint="loosen the constraint")
            raise ConfigError(problem)

    def save(self) -> None:
        """Write the results to the folder of the sweep."""
        search_results.write_search_results(self.folder, self.data())

    def _resume(self) -> list[StudyTrial]:
        """Load the results of earlier runs, and propose failed points again. Returns interrupted trials."""
        trials = [(self.search.space.overrides(t.values), t) for t in self.study.trials if "same_as" not in t.notes]
        for overrides, trial in trials:
            saved = trial.notes.get("results")
            if saved is not None:
                self.results[overrides] = SearchResult(trial.number, trial.figures or None, stopped=saved["stopped"])
                if _copy_results(Path(saved["folder"]), self.folder / str(trial.number)) and saved["work"]:
                    self._numbers.setdefault(saved["work"], trial.number)
            elif trial.state == PRUNED:
                self._excluded.add(overrides)
        waiting = {overrides: trial for overrides, trial in trials if trial.state == WAITING}
        failed = {overrides: trial for overrides, trial in trials if trial.state == FAILED}
        for overrides, trial in failed.items():
            if overrides not in self.results and overrides not in waiting:
                self.study.enqueue(trial)
        if self.results:
            print(f"study {self.study.name}: {len(self.results)} points from earlier runs")
        return list(waiting.values())

    def _proposals(self, size: int) -> Iterator[StudyTrial]:
        for _ in range(size + MAX_USELESS_PROPOSALS):
            yield self.study.ask()

    def _is_exhausted(self, batch_size: int) -> bool:
        """Whether every point of the space is finished, excluded, or in the batch."""
        if len(self.results) + len(self._excluded) + batch_size != self.search.space.size:
            return False
        self.ended = "every point of the space was tried"
        return True

    def _run_batch(self, proposals: Iterable[StudyTrial], size: int) -> None:
        """Run up to `size` new points of the proposals. A known point receives its result without running."""
        batch: dict[Overrides, Point] = {}
        repeated: list[tuple[int, Overrides]] = []
        for trial in proposals:
            overrides = self.search.space.overrides(trial.values)
            if overrides in batch:
                repeated.append((trial.number, overrides))
            elif overrides in self.results:
                self._repeat(trial.number, overrides)
            elif (config := self._compose(trial.number, overrides)) is not None:
                batch[overrides] = build_point(trial.number, config, self.search.space.fixed, self._numbers)
            if len(batch) == size or self._is_exhausted(len(batch)):
                break
        overrides_by_number = {point.number: overrides for overrides, point in batch.items()}
        for outcome in self.run_points(list(batch.values()), self.folder) if batch else ():
            self._record(outcome, overrides_by_number[outcome.number])
        for number, overrides in repeated:
            if overrides in self.results:
                self._repeat(number, overrides)
        self.save()

    def _compose(self, number: int, overrides: Overrides) -> PointConfig | None:
        """The config of a proposal; None if `sweep.where` excludes it, or it cannot be composed."""
        try:
            config = self.search.composer.compose(overrides) if overrides not in self._excluded else None
        except ConfigError as error:
            self._record(PointOutcome.of_problems(number, error.problems), overrides)
            return None
        if config is not None and self.search.sweep.allows(config.value):
            return config
        self._excluded.add(overrides)
        self.study.prune(number)
        return None

    def _record(self, outcome: PointOutcome, overrides: Overrides) -> None:
        """Store the result of a point in the study, and print it."""
        self.outcomes.append(outcome)
        result = search_result(outcome, self.search.objectives, self.search.settings.max_error_rate)
        if result is None:
            self.ended = "the budget is spent; the same command with a larger one continues from here"
            return
        self.results[overrides] = result
        if result.cause:
            self.study.add_note(result.number, "cause", result.cause)
        else:
            folder = str((self.folder / str(result.number)).absolute())
            saved = {"folder": folder, "work": outcome.summary.get("work"), "stopped": result.stopped}
            self.study.add_note(result.number, "results", saved)
        self._finish_trial(result.number, result)
        print(f"{result.number:>4}  {' '.join(overrides)}  {self._describe(result)}", flush=True)
        if result.cause and self.search.sweep.fail_fast:
            self.ended = "stopped at the first point that failed (sweep.fail_fast)"

    def _describe(self, result: SearchResult) -> str:
        if result.figures is None:
            return f"failed: {result.cause.splitlines()[0]}" if result.cause else f"stopped {result.stopped}"
        pairs = zip(self.search.objectives, result.figures, strict=True)
        return ", ".join(f"{objective.name} {figure:.4g}" for objective, figure in pairs)

    def _repeat(self, number: int, overrides: Overrides) -> None:
        """Finish a proposal of a known point with the result of that point."""
        self.study.add_note(number, "same_as", self.results[overrides].number)
        self._finish_trial(number, self.results[overrides])

    def _finish_trial(self, number: int, result: SearchResult) -> None:
        if result.figures is not None:
            self.study.complete(number, result.figures)
        elif result.stopped:
            self.study.prune(number)
        else:
            self.study.fail(number)

    def data(self) -> dict[str, Any]:
        """The search and its results as plain data."""
        objectives, best = self.search.objectives, set(self.study.best_numbers)
        names = [objective.name for objective in objectives]
        trials = [
            {
                "number": result.number,
                "overrides": list(overrides),
                "figures": dict(zip(names, result.figures, strict=True)) if result.figures is not None else None,
                "cause": result.cause,
                "stopped": result.stopped,
            }
            for overrides, result in sorted(self.results.items(), key=lambda item: item[1].number)
        ]
        return {
            "name": "optuna",
            "study": self.study.name,
            "flow": self.search.flow,
            "fixed": list(self.search.space.fixed),
            "objectives": [{"name": o.name, "direction": "maximize" if o.maximize else "minimize"} for o in objectives],
            "asked": self.search.settings.n_trials,
            "left_out": len(self._excluded),
            "best": [trial["number"] for trial in trials if trial["number"] in best],
            "trials": trials,
        }


def _copy_results(source: Path, target: Path) -> bool:
    """Copy the results of a point from an earlier run. Returns whether it has results."""
    if not (source / SUMMARY_FILE).is_file():
        return False
    if not target.exists():
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copytree(source, draft, copy_function=_link)
        draft.rename(target)
    return True


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)  # safe: results are replaced, never written in place
    except OSError:
        shutil.copy2(source, target)
