"""Warns before a run about folders that cannot be written, once for each folder."""

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
    """Log what cannot be stored and why. The runner does not warn about it again."""
    for folder, parts in _folders(experiment).items():
        cause = unwritable(folder)
        if not cause:
            continue
        what = f"new {_join_words(parts)} cannot be stored in {str(folder)!r} ({cause}) and are lost after this run"
        log.warning("%s; %s", what, DISK_HINT)
        runner.warned.update(topic for part in parts for topic in _TOPICS[part])
        if "indexes" in parts:
            artifact.warned_homes.add(folder)


def _join_words(words: list[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _folders(experiment: Experiment) -> dict[Path, list[str]]:
    """Folder to the kinds of data that are stored in it."""
    files = {
        "traces": [getattr(tracer, "path", None) for tracer in experiment.tracers.values()],
        "answers": [getattr(experiment.store, "path", None)],
    }
    folders: dict[Path, list[str]] = {}
    for part, paths in files.items():
        for folder in {path.parent for path in paths if path is not None}:
            folders.setdefault(folder, []).append(part)
    if experiment.settings.home is not None:
        folders.setdefault(experiment.settings.home, []).append("indexes")
    return folders
