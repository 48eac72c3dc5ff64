"""A sweep: its points run, in this process or in workers, what an earlier run left unfinished first of all."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_flows.core.errors import ConfigError, FlowError, Problem
from llmops_flows.engine.plan import PlanCheck
from llmops_flows.report import run_files
from llmops_flows.report.run_files import relative_path

from .exit_codes import FAILED, OK, SOME, WRONG
from .grid.settings import SweepSettings
from .in_process import copy, experiment, waves
from .outcome import PointOutcome, known_share

if TYPE_CHECKING:
    from .grid.points import Point
    from .resume import Sweep, Taken

Launch = Callable[[Sequence["Point"], Path], Generator[PointOutcome, None, None]]
"""Runs cells elsewhere, and leaves the results of each in `FOLDER/NUMBER`."""
WORKER = "llmops_flows.sweeps.workers.worker"


def run(sweep: Sweep, found: Taken, launch: Launch | None = None) -> int:
    """Run what is left to do of a sweep, and show the whole of it. Returns the exit code, see `code`.

    A point that is wrong or fails stops no other. Points that do the same run once; each leaves its own results.
    """
    if launch is not None and sweep.rules.stop is not None:
        hint = "leave out sweep.stop, or hydra/launcher"
        raise ConfigError(Problem("stop compares points that run side by side in one process", "sweep.stop", hint=hint))
    begun = time.perf_counter()
    _told(found, len(sweep.cells), alone=sweep.rules.alone)
    known = {outcome.number for outcome in found.known}
    todo = [cell for cell in sweep.cells if cell.number not in known]
    foreseen = PlanCheck()
    outcomes = list(found.known)
    try:
        outcomes.extend(execute(todo, found.folder, sweep.rules, launch, foreseen))
    except KeyboardInterrupt as stop:
        after = f"after {len(outcomes)} of {len(sweep.cells)} points"
        stop.args = (f"interrupted {after}; the same command goes on from here, in {relative_path(found.folder)}",)
        raise
    show(sweep.cells, found.folder, outcomes, len(known), time.perf_counter() - begun, foreseen)
    return code(outcomes)


def code(outcomes: Sequence[PointOutcome]) -> int:
    """The exit code of a sweep; WRONG where only configs are wrong."""
    failed = any(outcome.failed for outcome in outcomes if not outcome.wrong)
    if failed:
        return SOME if any(outcome.kept for outcome in outcomes) else FAILED
    return WRONG if any(outcome.wrong for outcome in outcomes) else OK


def execute(
    cells: Sequence[Point],
    folder: Path,
    rules: SweepSettings,
    launch: Launch | None = None,
    foreseen: PlanCheck | None = None,
) -> Iterator[PointOutcome]:
    """Run cells, and leave the results of each in `folder/NUMBER`. What came of each is told as it is done.

    `cells` may be some of a sweep: one may do the same as another that has been run into the folder before.
    With `rules.fail_fast` nothing more is told after the first failure. `launch`: runs them instead of this machine.
    `foreseen`: takes note of what the points did that run in this process.
    """
    asked = {cell.number for cell in cells}
    todo = [cell for cell in cells if cell.experiment is not None and cell.same_as is None]
    twins: dict[int, list[Point]] = {}
    for cell in cells:
        if cell.experiment is None:
            yield _kept(PointOutcome(cell.number, failure="\n".join(map(str, cell.problems)), wrong=True), folder)
        elif cell.same_as in asked:
            twins.setdefault(cell.same_as, []).append(cell)
        elif cell.same_as is not None:
            yield _kept(copy(cell, folder), folder)
    with closing(_under_way(todo, folder, rules, launch, foreseen)) as outcomes:
        for outcome in outcomes:
            yield _kept(outcome, folder)
            yield from (_kept(copy(cell, folder), folder) for cell in twins.get(outcome.number, ()))
            if rules.fail_fast and outcome.failed:
                return


def _under_way(
    cells: Sequence[Point], folder: Path, rules: SweepSettings, launch: Launch | None, foreseen: PlanCheck | None
) -> Generator[PointOutcome, None, None]:
    if launch is not None:
        return launch(cells, folder)
    return _apart(cells, folder, rules) if rules.apart else _here(cells, folder, rules, foreseen)


def _kept(outcome: PointOutcome, folder: Path) -> PointOutcome:
    """An outcome; where there are no results, the folder says why."""
    if outcome.failure:
        try:
            run_files.write_failure(folder / str(outcome.number), outcome.failure)
        except OSError:
            pass  # it is told at the end
    return outcome


def _here(
    cells: Sequence[Point], folder: Path, rules: SweepSettings, foreseen: PlanCheck | None
) -> Generator[PointOutcome, None, None]:
    """All points side by side in this process; one after the other if the first failure is the last."""
    from llmops_flows.config.load import open_runner

    from .early_stopping import EarlyStopping
    from .in_process import walk
    from .progress import Pace

    pace = Pace()
    if rules.stop is not None:
        yield from EarlyStopping(cells, folder, rules, pace, foreseen).run()
        return
    for wave in [[cell] for cell in cells] if rules.alone else waves(cells):
        with open_runner(experiment(wave[0]), [pace]) as (runner, _):
            yield from list(walk(runner, wave, folder, foreseen))


def _apart(cells: Sequence[Point], folder: Path, rules: SweepSettings) -> Generator[PointOutcome, None, None]:
    """The points one by one in worker processes."""
    from .progress import Pace
    from .workers.pool import Task, WorkerPool
    from .workers.worker import task

    tasks, outcomes = [Task(task(cell, folder), path(cell)) for cell in cells], list[PointOutcome]()
    workers, pace = min(rules.workers, len(tasks)), Pace()
    command = [sys.executable, "-m", WORKER, str(workers)]

    def tick() -> None:
        pace.tell("points", len(outcomes), len(tasks), known_share(outcomes))

    with closing(pace), WorkerPool(command, workers, timeout=rules.timeout, tick=tick) as pool:
        for position, said in pool.do(tasks):
            number = cells[position].number
            outcomes.append(PointOutcome(number, failure=said) if isinstance(said, str) else PointOutcome(**said))
            yield outcomes[-1]


def path(cell: Point) -> list[str]:
    """What a cell does, step by step."""
    return [stage.identity for _, stage in experiment(cell).flow.leaves()]


def _told(taken: Taken, count: int, *, alone: bool) -> None:
    """What is known from an earlier run, and what changed since."""
    for change in taken.changed:
        where = "" if len(change.points) == count else f" (at {len(change.points)} of {count} points)"
        print(f"changed since this sweep ran last: {change}{where}")
    if taken.again:
        from .planning import counted

        new = {name: found for name, found in counted(taken.again, alone=alone).items() if found.new}
        stages = ", ".join(f"{name} {len(found.new)}" for name, found in new.items()) or "nothing, all of it is known"
        print(f"{len(taken.again)} points that were finished run again: {stages}")
    if taken.known:
        print(f"resumed: {len(taken.known)} of {count} points known, in {relative_path(taken.folder)}")


def show(
    cells: Sequence[Point],
    folder: Path,
    outcomes: Sequence[PointOutcome],
    known: int,
    seconds: float,
    foreseen: PlanCheck,
) -> None:
    """The leaderboard, everything that went wrong, and where it all lies."""
    from llmops_flows.report import leaderboard, saved_runs
    from llmops_flows.report.text import leaderboard_text

    kept = any(outcome.summary for outcome in outcomes)
    if kept:
        try:
            found, _ = saved_runs.read_sweep(folder)
            print(leaderboard_text.format_leaderboard(leaderboard.leaderboard(found)), end="")
        except FlowError as error:
            print(error)
    for line in _failures(cells, outcomes):
        print(line)
    _compared(foreseen)
    counts = {
        "known before": known,
        "failed": sum(outcome.failed and not outcome.wrong for outcome in outcomes),
        "wrong": sum(outcome.wrong for outcome in outcomes),
        "stopped early": sum("stopped" in outcome.summary for outcome in outcomes),
        "not run": len(cells) - len(outcomes),
        "the same as another and run once with it": sum(cell.same_as is not None for cell in cells),
    }
    fine = sum(not outcome.failed for outcome in outcomes)
    told = "".join(f"; {count} {what}" for what, count in counts.items() if count)
    print(f"\n{fine} of {len(cells)} points finished in {seconds:.1f} s{told}")
    print(
        f"{relative_path(folder)}   python -m llmops_flows board {_named(folder)}--report"
        if kept
        else relative_path(folder)
    )


def _named(folder: Path) -> str:
    """How `board` is told of a folder; it finds the last sweep by itself."""
    from llmops_flows.report import saved_runs
    from llmops_flows.report.saved_runs import SWEEPS_FOLDER

    try:
        last = saved_runs.latest_sweep(SWEEPS_FOLDER).samefile(folder)
    except (FlowError, OSError):
        last = False
    return "" if last else f"{shlex.quote(str(relative_path(folder)))} "


def _compared(foreseen: PlanCheck) -> None:
    """Where less was computed than `plan` says, and why."""
    reasons = {
        "equal": "their inputs turned out equal",
        "known": "they turned out to be known",
        "unreached": "a guardrail or a failure ended the way before",
    }
    for reason, what in reasons.items():
        counts = {name: getattr(came, reason) for name, came in foreseen.stages.items()}
        told = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        if told:
            print(f"fewer than planned, for {what}: {told}")


def _failures(cells: Sequence[Point], outcomes: Sequence[PointOutcome]) -> Iterator[str]:
    """Every failure with its cause; equal ones are told once, with all their points."""
    overrides = {cell.number: " ".join(cell.overrides) for cell in cells}
    found: dict[tuple[str, bool], list[int]] = {}
    for outcome in sorted(outcomes, key=lambda outcome: outcome.number):
        for cause in [outcome.failure] if outcome.failure else outcome.causes:
            found.setdefault((cause, outcome.wrong), []).append(outcome.number)
    for (cause, wrong), numbers in found.items():
        for number in numbers:
            yield f"point {number} ({overrides[number]}) {'was not run' if wrong else 'failed'}:"
        yield from (f"  - {line}" if n == 0 else f"    {line}" for n, line in enumerate(cause.splitlines()))
