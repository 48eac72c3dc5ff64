"""Whether what a run keeps has a place: told before it begins, once for all that would lie in the same folder."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from llmops_flows.artifacts import artifact
from llmops_flows.artifacts.disk_errors import DISK_HINT, unwritable

if TYPE_CHECKING:
    from pathlib import Path

    from llmops_flows.engine.runner import Runner

    from ..experiment import Experiment

log = logging.getLogger("llmops_flows")
_TOPICS = {"traces": ("TraceSink",), "answers": ("store read", "store write"), "indexes": ()}


def warn_about_unwritable_folders(experiment: Experiment, runner: Runner) -> None:
    """Say which parts of a run cannot be kept, and why; the parts themselves then say nothing more of it."""
    for folder, parts in _folders(experiment).items():
        cause = unwritable(folder)
        if not cause:
            continue
        what = f"new {_listed(parts)} cannot be kept in {str(folder)!r} ({cause}): nothing of them outlasts this run"
        log.warning("%s; %s", what, DISK_HINT)
        runner.warned.update(topic for part in parts for topic in _TOPICS[part])
        if "indexes" in parts:
            artifact.told.add(folder)


def _listed(words: list[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _folders(experiment: Experiment) -> dict[Path, list[str]]:
    """Folder to what is kept there."""
    files = {
        "traces": [getattr(tracer, "path", None) for tracer in experiment.tracers.values()],
        "answers": [getattr(experiment.store, "path", None)],
    }
    found: dict[Path, list[str]] = {}
    for part, paths in files.items():
        for folder in {path.parent for path in paths if path is not None}:
            found.setdefault(folder, []).append(part)
    if experiment.settings.home is not None:
        found.setdefault(experiment.settings.home, []).append("indexes")
    return found
