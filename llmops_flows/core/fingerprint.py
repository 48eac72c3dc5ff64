"""Content addresses of values and files, and the code and fields that identify a component."""

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
    """SHA-256 (64 hex digits) of the parts; the boundaries between parts count."""
    if len(parts) == 1 and isinstance(parts[0], bytes):
        return hashlib.sha256(parts[0]).hexdigest()
    hasher = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        hasher.update(b"%d:" % len(data))
        hasher.update(data)
    return hasher.hexdigest()


def address(value: Any) -> str:
    """The content address of a value: the digest of its encoded bytes."""
    return digest(encode(value))


def content(path: Path) -> str:
    """Address of the content of a file, or of the names and contents of all files of a folder.

    Raises:
        FileNotFoundError: the path does not exist.
    """
    if path.is_file():
        return digest(path.read_bytes())
    if not path.is_dir():
        raise FileNotFoundError(f"no such file or folder: {str(path)!r}")
    return digest(*(part for p in files(path) for part in (p.relative_to(path).as_posix(), _digest(p))))


def files(path: Path) -> list[Path]:
    """A file, or all files of a folder sorted by name, without hidden files and links that lead outside."""
    if path.is_file():
        return [path]
    home = path.resolve()
    return sorted(
        p
        for p in path.rglob("*")
        if p.is_file() and not _hidden(p.relative_to(path)) and p.resolve().is_relative_to(home)
    )


def _digest(path: Path) -> str:
    """The digest of a file of a folder; "unreadable" if it cannot be read, so that the others can be used."""
    try:
        return digest(path.read_bytes())
    except OSError:
        return "unreadable"


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)


def code(cls: type) -> str:
    """The digest of a component's code: the `version` of a shipped class, the source of a user's class.

    For a user's class, the source of the module of every class in its inheritance counts; where such a module is part
    of a package, the source of the whole package, since a component may use its other modules.
    """
    own = [c for c in cls.__mro__ if c.__module__.partition(".")[0] not in (SHIPPED, "pydantic", "builtins", "abc")]
    shipped = next((c for c in cls.__mro__ if c.__module__.partition(".")[0] == SHIPPED), None)
    marks = [f"version {getattr(shipped or cls, 'version', 0)}"]
    marks += [_library(c.__module__) for c in own if c.__module__ != "typing"]
    return digest(*marks)


def target_code(target: str) -> str:
    """The digest of the code behind a dotted name, without importing it."""
    return _library(target.rpartition(".")[0] or target)


@functools.lru_cache(maxsize=256)
def _library(module: str) -> str:
    """The version of an installed library; the source of a user's own module or package."""
    top = module.partition(".")[0]
    loaded = sys.modules.get(top)
    spec = loaded or importlib.util.find_spec(top)
    origin = getattr(loaded, "__file__", None) if loaded is not None else getattr(spec, "origin", None)
    if origin and Path(origin).is_file():
        paths = [Path(origin)]
    else:  # a package without an __init__.py: one folder, or several with the same name
        folders = getattr(spec, "__path__", None) or getattr(spec, "submodule_search_locations", None) or ()
        paths = [Path(folder) for folder in folders]
    if any(name in path.parts for path in paths for name in ("site-packages", "dist-packages")):
        release = _release(module)
        if release:
            return release
    return _source(paths) if paths else f"{top} unknown"


def _release(module: str) -> str:
    """The distribution of a module with its version; "" if no distribution has its name."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and rarely needed

    steps = module.split(".")
    names = ["-".join(steps[:depth]).replace("_", "-") for depth in range(len(steps), 0, -1)]
    for name in (*names, steps[0]):
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    return ""


def _source(paths: Iterable[Path]) -> str:
    roots = [path.parent if path.name == "__init__.py" else path for path in paths]
    modules = [m for root in roots for m in (sorted(root.rglob("*.py")) if root.is_dir() else [root])]
    return digest(*(module.read_bytes() for module in modules))


def plain(value: Any, *, include_operational: bool = False) -> Any:
    """A configured value as plain data for an identity.

    A component becomes its fingerprint, a path the address of its content, a secret None. With `include_operational`,
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
    raise TypeError(f"a config must hold plain data, paths or components, got a {type(value).__name__}")
