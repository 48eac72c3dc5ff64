"""A search: points that Optuna proposes, batch by batch, each batch run as the points of a sweep are."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_flows.core.errors import ConfigError, Fault
from llmops_flows.sweeps.objectives import objectives
from llmops_flows.sweeps.outcome import Outcome

if TYPE_CHECKING:
    from llmops_flows.config.cells import Cell
    from llmops_flows.config.points import Point
    from llmops_flows.config.search import Search
    from llmops_flows.integrations.optuna import Study, Trial

Run = Callable[[Sequence["Cell"], Path], Iterator[Outcome]]
"""Runs cells, and leaves the results of each in `FOLDER/NUMBER`; what came of each is told as it is done."""
Overrides = tuple[str, ...]
PATIENCE = 50
"""How many proposals of a batch may be of no use: known, or left out by `sweep.where`."""


def run(search: Search, folder: Path, execute: Run) -> int:
    """Search until there are as many points as were asked for. Returns the exit code of a sweep.

    What is finished is in the study before the next point is asked for: the same command goes on from there.
    """
    with closing(begin(search)) as study:
        return _run(Course(search, study, folder, execute))


def _run(course: Course) -> int:
    from llmops_flows.report import search as report

    from .sweep import code

    begun = time.perf_counter()
    search, folder = course.search, course.folder
    try:
        course.go()
    except KeyboardInterrupt:
        report.write(folder, course.results())
        print(f"interrupted after {len(course.settled)} of {search.settings.n_trials} points; ", end="")
        print("the same command goes on from here")
        raise
    found = course.results()
    report.write(folder, found)
    print(report.text(folder, found, course.ended, time.perf_counter() - begun), end="")
    return code(course.outcomes)


def begin(search: Search) -> Study:
    """The study of a search, begun or gone on with."""
    from llmops_flows.integrations.optuna import Plan, Study

    settings = search.settings
    plan = Plan(
        parameters=search.space.parameters,
        directions=[aim.maximize for aim in search.objectives],
        sampler=settings.sampler,
        options=settings.sampler_options,
        seed=settings.seed,
        generation=max(4, min(50, settings.n_trials // 4)),
    )
    return Study(search.name, settings.storage or str(search.home / "optuna.db"), plan, search.about)


@dataclass(frozen=True)
class Settled:
    """A point that was tried: its trial, what it reached (None: it failed), and why it failed."""

    number: int
    figures: tuple[float, ...] | None
    cause: str = ""


@dataclass
class Course:
    """A search under way.

    Attributes:
        search, study, folder: what is searched, where proposals come from, where results go.
        execute: runs points.
        settled: overrides of each point that was tried, in this run or before.
        outcomes: what came of the points that this run tried.
        ended: why it ended before there were enough points.
    """

    search: Search
    study: Study
    folder: Path
    execute: Run
    settled: dict[Overrides, Settled] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    ended: str = ""
    _forbidden: set[Overrides] = field(default_factory=set)
    _first: dict[str, int] = field(default_factory=dict)

    def go(self) -> None:
        """Propose and run points, until there are enough or there is nothing new."""
        waiting = self._resume()
        if waiting:
            self._try(waiting, len(waiting))
        while not self.ended and (left := self.search.settings.n_trials - len(self.settled)) > 0:
            before = len(self.settled)
            most = min(left, self.search.settings.n_jobs)
            self._try(self._proposals(most), most)
            if len(self.settled) == before and not self.ended:
                self.ended = f"{PATIENCE} proposals in a row were known, or left out by sweep.where"
        if self._forbidden and not self.settled:
            raise ConfigError(Fault("no point is left", key="sweep.where", mend="loosen the condition"))

    def _resume(self) -> list[Trial]:
        """Take over what earlier runs settled: what failed is proposed again, what was cut off is returned."""
        from llmops_flows.integrations.optuna import DONE, FAILED, WAITING

        trials = [(self.search.space.overrides(t.values), t) for t in self.study.trials if "same_as" not in t.notes]
        for overrides, trial in trials:
            if trial.state == DONE:
                self.settled[overrides] = Settled(trial.number, trial.figures)
                results = trial.notes.get("results") or {}
                if _bring(str(results.get("folder", "")), self.folder / str(trial.number)):
                    self._first.setdefault(str(results.get("work")), trial.number)
        waiting = {overrides: trial for overrides, trial in trials if trial.state == WAITING}
        for overrides, trial in {o: t for o, t in trials if t.state == FAILED}.items():
            if overrides not in self.settled and overrides not in waiting:
                self.study.again(trial)
        if self.settled:
            print(f"study {self.study.name}: {len(self.settled)} points are there already")
        return list(waiting.values())

    def _proposals(self, most: int) -> Iterator[Trial]:
        for _ in range(most + PATIENCE):
            yield self.study.ask()

    def _exhausted(self, batch: Mapping[Overrides, Any]) -> bool:
        """Whether there is no further point."""
        if len(self.settled) + len(self._forbidden) + len(batch) != self.search.space.size:
            return False
        self.ended = "every point of the space was tried"
        return True

    def _try(self, proposals: Iterable[Trial], most: int) -> None:
        """Run what is new among the proposals, `most` points of it; what is known is told at once."""
        from llmops_flows.config.cells import cell

        batch: dict[Overrides, Cell] = {}
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
        for outcome in self.execute(list(batch.values()), self.folder):
            self._settle(outcome, named[outcome.number])
        for number, overrides in twins:
            self._repeat(number, overrides)

    def _point(self, number: int, overrides: Overrides) -> Point | None:
        """The point of a proposal; None where `sweep.where` forbids it, or it cannot be composed."""
        try:
            point = self.search.point(overrides) if overrides not in self._forbidden else None
        except ConfigError as error:
            self._settle(Outcome(number, failure="\n".join(map(str, error.faults)), wrong=True), overrides)
            return None
        if point is not None and self.search.allows(point):
            return point
        self._forbidden.add(overrides)
        self.study.left_out(number)
        return None

    def _settle(self, outcome: Outcome, overrides: Overrides) -> None:
        """Tell the study what came of a point, and the user."""
        self.outcomes.append(outcome)
        found = self._judged(outcome)
        self.settled[overrides] = found
        if found.figures is None:
            self.study.note(found.number, "cause", found.cause)
            self.study.failed(found.number)
            told = found.cause.splitlines()[0]
        else:
            folder = str((self.folder / str(found.number)).absolute())
            self.study.note(found.number, "results", {"folder": folder, "work": outcome.summary.get("work")})
            self.study.done(found.number, found.figures)
            aims = zip(self.search.objectives, found.figures, strict=True)
            told = ", ".join(f"{aim.name} {figure:.4g}" for aim, figure in aims)
        print(f"{found.number:>4}  {' '.join(overrides)}  {'failed: ' if found.cause else ''}{told}", flush=True)

    def _judged(self, outcome: Outcome) -> Settled:
        """What a point reached. With more failed answers and scores than allowed it has failed."""
        if outcome.failure:
            return Settled(outcome.number, None, outcome.failure)
        summary, aims = outcome.summary, self.search.objectives
        self._known(summary)
        errors, most = summary["errors"], self.search.settings.max_error_rate
        rate = (errors["records"] + errors["evaluations"]) / max(1, summary["records"])
        if rate > most and not any(aim.name == "errors" for aim in aims):
            return Settled(outcome.number, None, "; ".join(outcome.causes))
        figures = [aim.value(summary) for aim in aims]
        missing = [aim.name for aim, figure in zip(aims, figures, strict=True) if figure is None]
        if missing:
            return Settled(outcome.number, None, f"{', '.join(missing)} says nothing about any of its answers")
        return Settled(outcome.number, tuple(figure for figure in figures if figure is not None))

    def _known(self, summary: Mapping[str, Any]) -> None:
        """Evaluators that do not say beforehand what they give: a wrong name is told after the first point."""
        if summary["answered"] and not summary["errors"]["evaluations"]:
            names = [[aim.name for aim in self.search.objectives if aim.maximize is more] for more in (True, False)]
            objectives(names[0], names[1], summary["scores"])

    def _repeat(self, number: int, overrides: Overrides) -> None:
        """A proposal that is known reaches what it reached, at no cost."""
        found = self.settled[overrides]
        self.study.note(number, "same_as", found.number)
        if found.figures is None:
            self.study.failed(number)
        else:
            self.study.done(number, found.figures)

    def results(self) -> dict[str, Any]:
        """The search as plain data."""
        aims, best = self.search.objectives, set(self.study.best)
        names = [aim.name for aim in aims]
        trials = [
            {
                "number": found.number,
                "overrides": list(overrides),
                "figures": dict(zip(names, found.figures, strict=True)) if found.figures is not None else None,
                "cause": found.cause,
            }
            for overrides, found in sorted(self.settled.items(), key=lambda item: item[1].number)
        ]
        return {
            "name": "optuna",
            "study": self.study.name,
            "flow": self.search.flow,
            "fixed": list(self.search.space.fixed),
            "objectives": [{"name": a.name, "direction": "maximize" if a.maximize else "minimize"} for a in aims],
            "asked": self.search.settings.n_trials,
            "left_out": len(self._forbidden),
            "best": [trial["number"] for trial in trials if trial["number"] in best],
            "trials": trials,
        }


def _bring(source: str, target: Path) -> bool:
    """Results that an earlier run left elsewhere stand in this sweep's folder too; whether there are any."""
    if not source or not (Path(source) / "summary.json").is_file():
        return False
    if not target.exists():
        shutil.copytree(source, target, copy_function=_link)
    return True


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)  # the files are never written to, only replaced
    except OSError:
        shutil.copy2(source, target)
