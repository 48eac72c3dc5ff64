"""Content addresses: what makes two values, or two configured components, the same."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SHIPPED = __name__.partition(".")[0]


def encode(value: Any) -> bytes:
    """Canonical JSON of plain data: sorted keys, no spaces, UTF-8, no NaN.

    Raises:
        TypeError: the value holds something that is not plain data.
        ValueError: the value holds NaN or an infinity.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode(
        "utf-8", "surrogatepass"
    )


def decode(data: bytes) -> Any:
    """The value of canonical JSON."""
    return json.loads(data.decode("utf-8", "surrogatepass"))


def digest(*parts: str | bytes) -> str:
    """SHA-256 (64 hex digits) of the parts; where one part ends and the next begins counts."""
    if len(parts) == 1 and isinstance(parts[0], bytes):
        return hashlib.sha256(parts[0]).hexdigest()
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        whole.update(b"%d:" % len(data))
        whole.update(data)
    return whole.hexdigest()


def address(value: Any) -> str:
    """The content address of a value: the digest of its encoded bytes."""
    return digest(encode(value))


def content(path: Path) -> str:
    """Address of what a file, or every file of a folder, holds (names count, places do not).

    Raises:
        FileNotFoundError: nothing is there.
    """
    if path.is_file():
        return digest(path.read_bytes())
    if not path.is_dir():
        raise FileNotFoundError(f"no such file or folder: {str(path)!r}")
    return digest(*(part for p in files(path) for part in (p.relative_to(path).as_posix(), _digest(p))))


def files(path: Path) -> list[Path]:
    """A file, or every file of a folder in the order of their names; not hidden ones, nor links that lead outside."""
    if path.is_file():
        return [path]
    home = path.resolve()
    return sorted(
        p
        for p in path.rglob("*")
        if p.is_file() and not _hidden(p.relative_to(path)) and p.resolve().is_relative_to(home)
    )


def _digest(path: Path) -> str:
    """What a file of a folder counts as; one that cannot be read counts as that, so that the others can be used."""
    try:
        return digest(path.read_bytes())
    except OSError:
        return "unreadable"


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)


def code(cls: type) -> str:
    """What a component's own code counts as: the `version` of a shipped class, else its source.

    A user's class counts by the source of every module that its line of classes comes from; where such a module
    is part of a package, by the whole package, since a component may call its neighbors.
    """
    own = [c for c in cls.__mro__ if c.__module__.partition(".")[0] not in (SHIPPED, "pydantic", "builtins", "abc")]
    shipped = next((c for c in cls.__mro__ if c.__module__.partition(".")[0] == SHIPPED), None)
    marks = [f"version {getattr(shipped or cls, 'version', 0)}"]
    marks += [_library(c.__module__) for c in own if c.__module__ != "typing"]
    return digest(*marks)


def target_code(target: str) -> str:
    """What the code behind a dotted name counts as, found without importing it."""
    return _library(target.rpartition(".")[0] or target)


@functools.lru_cache(maxsize=256)
def _library(module: str) -> str:
    """An installed library counts by its version, a user's own module or package by its source."""
    top = module.partition(".")[0]
    loaded = sys.modules.get(top)
    found = loaded or importlib.util.find_spec(top)
    origin = getattr(loaded, "__file__", None) if loaded is not None else getattr(found, "origin", None)
    if origin and Path(origin).is_file():
        places = [Path(origin)]
    else:  # a package without an __init__.py: one folder, or several that share the name
        inside = getattr(found, "__path__", None) or getattr(found, "submodule_search_locations", None) or ()
        places = [Path(place) for place in inside]
    if any(name in place.parts for place in places for name in ("site-packages", "dist-packages")):
        release = _release(module)
        if release:
            return release
    return _source(places) if places else f"{top} unknown"


def _release(module: str) -> str:
    """The distribution that a module is of, with its version; "" where none is named like it."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and seldom needed

    steps = module.split(".")
    names = ["-".join(steps[:depth]).replace("_", "-") for depth in range(len(steps), 0, -1)]
    for name in (*names, steps[0]):
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    return ""


def _source(places: Iterable[Path]) -> str:
    folders = [place.parent if place.name == "__init__.py" else place for place in places]
    files = [f for place in folders for f in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]
    return digest(*(f.read_bytes() for f in files))


def plain(value: Any, *, include_operational: bool = False) -> Any:
    """A configured value as plain data for an identity.

    A component becomes its identity, a path the content behind it, a secret nothing at all. With `include_operational`,
    operational fields (timeouts, prices …) count too: that distinguishes resources, not answers.
    """
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, Path):
        return content(value)
    if isinstance(value, Mapping):
        return {str(k): plain(v, include_operational=include_operational) for k, v in value.items()}
    if hasattr(value, "fingerprint"):
        return value.fingerprint(include_operational=include_operational)
    if hasattr(value, "get_secret_value"):
        return None
    if isinstance(value, Iterable):
        return [plain(v, include_operational=include_operational) for v in value]
    raise TypeError(f"a {type(value).__name__} in a config has no address: use plain data, a path or a component")
