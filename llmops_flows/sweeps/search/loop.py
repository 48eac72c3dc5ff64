"""A search: points that Optuna proposes are run batch by batch, and what came of each is told to it at once."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.report.run_files import SUMMARY_FILE

from ..outcome import PointOutcome
from .judgment import SearchResult, judged

if TYPE_CHECKING:
    from llmops_flows.integrations.optuna import OptunaStudy, StudyTrial

    from ..grid.composer import ComposedPoint
    from ..grid.points import Point
    from .problem import SearchProblem

RunPoints = Callable[[Sequence["Point"], Path], Iterator[PointOutcome]]
"""Runs cells, and leaves the results of each in `FOLDER/NUMBER`; what came of each is told as it is done."""
Overrides = tuple[str, ...]
PATIENCE = 50
"""How many proposals of a batch may be of no use: known, or left out by `sweep.where`."""


def run(search: SearchProblem, folder: Path, execute: RunPoints) -> int:
    """Search until there are as many points as were asked for. Returns the exit code of a sweep.

    What is finished is in the study before the next point is asked for: the same command goes on from there.
    """
    with closing(_study(search)) as study:
        return _run(Loop(search, study, folder, execute))


def _run(loop: Loop) -> int:
    from llmops_flows.report.text import search_text

    from ..sweep import code

    begun = time.perf_counter()
    try:
        loop.go()
    except KeyboardInterrupt as stop:
        loop.save()
        after = f"after {len(loop.settled)} of {loop.search.settings.n_trials} points"
        stop.args = (f"interrupted {after}; the same command goes on from here",)
        raise
    print(search_text.format_search(loop.folder, loop.results(), loop.ended, time.perf_counter() - begun), end="")
    return code(loop.outcomes)


def _study(search: SearchProblem) -> OptunaStudy:
    """The study of a search, begun or gone on with."""
    from llmops_flows.integrations.optuna import OptunaStudy, StudyPlan

    settings = search.settings
    plan = StudyPlan(
        parameters=search.space.parameters,
        directions=[objective.maximize for objective in search.objectives],
        sampler=settings.sampler,
        options=settings.sampler_options,
        seed=settings.seed,
        generation=max(4, min(50, settings.n_trials // 4)),
    )
    return OptunaStudy(search.name, settings.storage or str(search.home / "optuna.db"), plan, search.about)


@dataclass
class Loop:
    """The ask-and-tell loop of a search.

    Attributes:
        search, study, folder: what is searched, where proposals come from, where results go.
        execute: runs points.
        settled: overrides of each point that was tried, in this run or before, and what it reached.
        outcomes: what came of the points that this run tried.
        ended: why it ended before there were enough points.
    """

    search: SearchProblem
    study: OptunaStudy
    folder: Path
    execute: RunPoints
    settled: dict[Overrides, SearchResult] = field(default_factory=dict)
    outcomes: list[PointOutcome] = field(default_factory=list)
    ended: str = ""
    _forbidden: set[Overrides] = field(default_factory=set)
    _first: dict[str, int] = field(default_factory=dict)

    def go(self) -> None:
        """Propose and run points, until there are enough or there is nothing new."""
        waiting = self._resume()
        self.save()
        if waiting:
            self._try(waiting, len(waiting))
        while (left := self.search.settings.n_trials - len(self.settled)) > 0:
            if self.ended or self._exhausted({}):
                break
            before, most = len(self.settled), min(left, self.search.settings.n_jobs)
            self._try(self._proposals(most), most)
            if len(self.settled) == before and not self.ended:
                self.ended = f"{PATIENCE} proposals in a row were known, or left out by sweep.where"
        if self._forbidden and not self.settled:
            raise ConfigError(Problem("no point is left", key="sweep.where", hint="loosen the condition"))

    def save(self) -> None:
        """Leave what is known by now in the sweep's folder."""
        from llmops_flows.report import search_results

        search_results.write_search_results(self.folder, self.results())

    def _resume(self) -> list[StudyTrial]:
        """Take over what earlier runs settled: what failed is proposed again, what was cut off is returned."""
        from llmops_flows.integrations.optuna import FAILED, PRUNED, WAITING

        trials = [(self.search.space.overrides(t.values), t) for t in self.study.trials if "same_as" not in t.notes]
        for overrides, trial in trials:
            results = trial.notes.get("results")
            if results is not None:
                self.settled[overrides] = SearchResult(trial.number, trial.figures or None, stopped=results["stopped"])
                if _bring(Path(results["folder"]), self.folder / str(trial.number)) and results["work"]:
                    self._first.setdefault(results["work"], trial.number)
            elif trial.state == PRUNED:
                self._forbidden.add(overrides)
        waiting = {overrides: trial for overrides, trial in trials if trial.state == WAITING}
        for overrides, trial in {o: t for o, t in trials if t.state == FAILED}.items():
            if overrides not in self.settled and overrides not in waiting:
                self.study.enqueue(trial)
        if self.settled:
            print(f"study {self.study.name}: {len(self.settled)} points are there already")
        return list(waiting.values())

    def _proposals(self, most: int) -> Iterator[StudyTrial]:
        for _ in range(most + PATIENCE):
            yield self.study.ask()

    def _exhausted(self, batch: Mapping[Overrides, Any]) -> bool:
        """Whether there is no further point."""
        if len(self.settled) + len(self._forbidden) + len(batch) != self.search.space.size:
            return False
        self.ended = "every point of the space was tried"
        return True

    def _try(self, proposals: Iterable[StudyTrial], most: int) -> None:
        """Run what is new among the proposals, `most` points of it; what is known is told at once."""
        from ..grid.points import cell

        batch: dict[Overrides, Point] = {}
        twins: list[tuple[int, Overrides]] = []
        for trial in proposals:
            overrides = self.search.space.overrides(trial.values)
            if overrides in batch:
                twins.append((trial.number, overrides))
            elif overrides in self.settled:
                self._repeat(trial.number, overrides)
            elif (point := self._point(trial.number, overrides)) is not None:
                batch[overrides] = cell(trial.number, point, self.search.space.fixed, self._first)
            if len(batch) == most or self._exhausted(batch):
                break
        named = {one.number: overrides for overrides, one in batch.items()}
        for outcome in self.execute(list(batch.values()), self.folder) if batch else ():
            self._settle(outcome, named[outcome.number])
        for number, overrides in twins:
            if overrides in self.settled:
                self._repeat(number, overrides)
        self.save()

    def _point(self, number: int, overrides: Overrides) -> ComposedPoint | None:
        """The point of a proposal; None where `sweep.where` forbids it, or it cannot be composed."""
        try:
            point = self.search.point(overrides) if overrides not in self._forbidden else None
        except ConfigError as error:
            self._settle(PointOutcome(number, failure="\n".join(map(str, error.problems)), wrong=True), overrides)
            return None
        if point is not None and self.search.allows(point):
            return point
        self._forbidden.add(overrides)
        self.study.prune(number)
        return None

    def _settle(self, outcome: PointOutcome, overrides: Overrides) -> None:
        """Tell the study what came of a point, and the user."""
        self.outcomes.append(outcome)
        found = judged(outcome, self.search.objectives, self.search.settings.max_error_rate)
        if found is None:
            self.ended = "the budget is used up; with another one the same command goes on from here"
            return
        self.settled[overrides] = found
        if found.cause:
            self.study.add_note(found.number, "cause", found.cause)
        else:
            place = str((self.folder / str(found.number)).absolute())
            results = {"folder": place, "work": outcome.summary.get("work"), "stopped": found.stopped}
            self.study.add_note(found.number, "results", results)
        self._tell(found.number, found)
        print(f"{found.number:>4}  {' '.join(overrides)}  {self._told(found)}", flush=True)
        if found.cause and self.search.rules.fail_fast:
            self.ended = "stopped at the first point that failed (sweep.fail_fast)"

    def _told(self, found: SearchResult) -> str:
        if found.figures is None:
            return f"failed: {found.cause.splitlines()[0]}" if found.cause else f"stopped {found.stopped}"
        pairs = zip(self.search.objectives, found.figures, strict=True)
        return ", ".join(f"{objective.name} {figure:.4g}" for objective, figure in pairs)

    def _repeat(self, number: int, overrides: Overrides) -> None:
        """A proposal that is known reaches what it reached, at no cost."""
        self.study.add_note(number, "same_as", self.settled[overrides].number)
        self._tell(number, self.settled[overrides])

    def _tell(self, number: int, found: SearchResult) -> None:
        if found.figures is not None:
            self.study.complete(number, found.figures)
        elif found.stopped:
            self.study.prune(number)
        else:
            self.study.fail(number)

    def results(self) -> dict[str, Any]:
        """The search as plain data."""
        objectives, best = self.search.objectives, set(self.study.best_numbers)
        names = [objective.name for objective in objectives]
        trials = [
            {
                "number": found.number,
                "overrides": list(overrides),
                "figures": dict(zip(names, found.figures, strict=True)) if found.figures is not None else None,
                "cause": found.cause,
                "stopped": found.stopped,
            }
            for overrides, found in sorted(self.settled.items(), key=lambda item: item[1].number)
        ]
        return {
            "name": "optuna",
            "study": self.study.name,
            "flow": self.search.flow,
            "fixed": list(self.search.space.fixed),
            "objectives": [{"name": o.name, "direction": "maximize" if o.maximize else "minimize"} for o in objectives],
            "asked": self.search.settings.n_trials,
            "left_out": len(self._forbidden),
            "best": [trial["number"] for trial in trials if trial["number"] in best],
            "trials": trials,
        }


def _bring(source: Path, target: Path) -> bool:
    """Results that an earlier run left elsewhere stand in this sweep's folder too; whether there are any."""
    if not (source / SUMMARY_FILE).is_file():
        return False
    if not target.exists():
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copytree(source, draft, copy_function=_link)
        draft.rename(target)
    return True


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)  # the files are never written to, only replaced
    except OSError:
        shutil.copy2(source, target)
