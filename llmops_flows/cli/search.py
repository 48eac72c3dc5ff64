"""A search: points that Optuna proposes, instead of every point of a sweep."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from .course import Course, Run

if TYPE_CHECKING:
    from llmops_flows.config.search import Search
    from llmops_flows.integrations.optuna import Study


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
    try:
        course.go()
    except KeyboardInterrupt:
        course.save()
        told = f"interrupted after {len(course.settled)} of {course.search.settings.n_trials} points"
        print(f"{told}; the same command goes on from here")
        raise
    print(report.text(course.folder, course.results(), course.ended, time.perf_counter() - begun), end="")
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
