"""Where configs, flows and kept answers lie: shipped with the package, in the user's project, in the cache folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2]
ROOT = "llmops_flows"
"""The root config; not `config`, which is what an app around us calls its own."""
named_dirs: list[Path] = []
"""Folders that the command line named by --config-dir: their options come before all others."""


def data_dir(name: str) -> Path:
    """The shipped folder `conf` or `flows`: in an installed package inside it, in a checkout beside it."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name


def project_dirs(name: str, start: Path | None = None) -> list[Path]:
    """The folder of that name in the user's project (the current folder), then the shipped one."""
    own = (start or Path.cwd()) / name
    shipped = data_dir(name)
    return [own, shipped] if own.is_dir() and own.resolve() != shipped.resolve() else [shipped]


def flow_dir(flow: str) -> Path | None:
    """The folder with a flow's documents and questions; the project's own comes first."""
    return next((folder / flow for folder in project_dirs("flows") if (folder / flow).is_dir()), None)


def home() -> Path:
    """Where answers, indexes and traces are kept: LLMOPS_FLOWS_HOME, else the user's cache folder."""
    chosen = os.environ.get("LLMOPS_FLOWS_HOME")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "llmops_flows"
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "llmops_flows"
