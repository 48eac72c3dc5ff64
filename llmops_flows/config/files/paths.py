"""Folders of configs, flows and stored answers: in this package, in the user's project, in the cache folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2]
ROOT = "llmops_flows"
"""The name of the root config. Not `config`, which is the usual name in other Hydra apps."""
command_line_dirs: list[Path] = []
"""Folders given by --config-dir, first in the search order."""


def data_dir(name: str) -> Path:
    """The shipped folder `conf` or `flows`: inside an installed package, next to it in a checkout."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name


def project_dirs(name: str, start: Path | None = None) -> list[Path]:
    """The folder of this name in the user's project (the current folder), then the shipped one."""
    project = (start or Path.cwd()) / name
    shipped = data_dir(name)
    return [project, shipped] if project.is_dir() and project.resolve() != shipped.resolve() else [shipped]


def flow_dir(flow: str) -> Path | None:
    """The folder with a flow's documents and questions, the project's before the shipped one."""
    return next((folder / flow for folder in project_dirs("flows") if (folder / flow).is_dir()), None)


def home() -> Path:
    """The folder of answers, indexes and traces: LLMOPS_FLOWS_HOME, else in the user's cache folder."""
    configured = os.environ.get("LLMOPS_FLOWS_HOME")
    if configured:
        return Path(configured).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "llmops_flows"
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "llmops_flows"
