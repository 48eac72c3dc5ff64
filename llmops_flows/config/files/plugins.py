"""Finds installed plugins by their entry point, with their conf folder, without importing them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

GROUP = "llmops_flows"
COMMANDS = "llmops_flows.commands"


@dataclass(frozen=True)
class Plugin:
    """An installed distribution with an entry point in the group `llmops_flows`.

    Attributes:
        name: of the entry point.
        package: top-level package of the entry point; configs may name its components.
        conf: the folder with its options; None if it has none.
    """

    name: str
    package: str
    conf: Path | None


def plugins() -> tuple[Plugin, ...]:
    """Every installed plugin, sorted by name."""
    return _plugins(tuple(sys.path))


@lru_cache(maxsize=4)
def _plugins(places: tuple[str, ...]) -> tuple[Plugin, ...]:
    result: dict[str, Plugin] = {}
    for dist, entry in _entry_points(GROUP, places):
        package = entry.value.partition(":")[0].partition(".")[0].strip()
        result.setdefault(entry.name, Plugin(entry.name, package, _conf(dist, package)))
    return tuple(result[name] for name in sorted(result))


def commands() -> dict[str, str]:
    """Command name to module, of the commands that plugins add."""
    result: dict[str, str] = {}
    for _, entry in _entry_points(COMMANDS, tuple(sys.path)):
        result.setdefault(entry.name, entry.value.strip())
    return {name: result[name] for name in sorted(result)}


def _entry_points(group: str, places: tuple[str, ...]) -> Iterator[tuple[Distribution, EntryPoint]]:
    """The entry points of a group in the order of the search path; unreadable metadata is skipped."""
    for dist in _distributions(places):
        try:
            entries = [entry for entry in dist.entry_points if entry.group == group]
        except (TypeError, ValueError, AttributeError, LookupError):
            continue
        yield from ((dist, entry) for entry in entries)


@lru_cache(maxsize=4)
def _distributions(places: tuple[str, ...]) -> tuple[Distribution, ...]:
    """The distributions with our entry points. Reading the metadata of every distribution would take 0.1 s."""
    infos = list(chain.from_iterable(_infos(Path(folder or ".")) for folder in places))
    if not infos:
        return ()
    from importlib.metadata import Distribution  # imports email and zipfile: only if a plugin is installed

    return tuple(map(Distribution.at, infos))


def _infos(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for info in sorted(folder.glob("*.dist-info")) + sorted(folder.glob("*.egg-info")):
        try:
            text = (info / "entry_points.txt").read_bytes()
        except OSError:
            continue
        if f"[{GROUP}".encode() in text.replace(b" ", b""):
            yield info


def _conf(dist: Distribution, package: str) -> Path | None:
    """The conf folder of a plugin: in its package, among its files, or in its project if it is editable."""
    folders = []
    spec = find_spec(package) if package.isidentifier() else None
    if spec is not None:
        folders += [Path(location) / "conf" for location in spec.submodule_search_locations or ()]
    for file in dist.files or ():
        if "conf" in file.parts[:-1] and file.name.endswith(".yaml"):
            folders.append(Path(str(dist.locate_file(Path(*file.parts[: file.parts.index("conf") + 1])))))
            break
    project = _editable(dist)
    if project is not None:
        folders += [project / "conf", project / "src" / "conf"]
    return next((folder for folder in folders if folder.is_dir()), None)


def _editable(dist: Distribution) -> Path | None:
    """The project folder of an editable distribution."""
    text = dist.read_text("direct_url.json")
    if not text:
        return None
    from urllib.parse import unquote, urlsplit
    from urllib.request import url2pathname  # imports ssl: only if needed

    try:
        origin = json.loads(text)
        url = urlsplit(origin["url"])
        if url.scheme == "file" and origin["dir_info"]["editable"]:
            return Path(url2pathname(unquote(url.path)))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return None
