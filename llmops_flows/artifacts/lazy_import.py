"""Importing outside libraries when they are first needed."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llmops_flows.core.errors import ConfigError, MissingExtra, Problem

from .loading import loading

SLOW_FORMATS = ("rfc3987_syntax", "isoduration")
"""Optional parts of jsonschema that cost seconds to import (a grammar is compiled) and that no flow needs."""


def load(name: str, extra: str, needed_by: str = "", *, without: Sequence[str] = ()) -> Any:
    """The module `name`; during its import the modules in `without` count as not installed.

    Raises:
        MissingExtra: its library is not installed; the message names the install line.
    """
    if name in sys.modules:
        return sys.modules[name]
    try:
        with loading(), hide_modules(without), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # what a library does while it loads is its own affair
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        top = name.partition(".")[0]
        if (error.name or "").partition(".")[0] != top:
            raise
        raise MissingExtra(top, extra, needed_by) from error


@contextmanager
def hide_modules(names: Sequence[str]) -> Iterator[None]:
    """Within the block, modules that are not yet imported count as not installed."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes an import fail
    try:
        yield
    finally:
        for name in hidden:
            if sys.modules.get(name) is None:
                sys.modules.pop(name, None)


def load_class(
    target: str, families: Sequence[str], base: Callable[[], tuple[type, ...]], role: str, extra: str
) -> type:
    """The class behind a dotted name, which must derive from the base class of its role.

    Before anything is imported, its library must be one of `families` (prefixes of package names); afterwards the
    class must be defined in that library, so that no name reaches through a module into another one.

    Raises:
        ConfigError: the name is outside the families, names no such class, or one of another role.
        MissingExtra: its library is not installed.
    """
    module, _, name = target.rpartition(".")
    top = target.partition(".")[0]
    if not module or not _of(top, families):
        raise ConfigError(Problem(f"{target!r} is not of a library of {' or '.join(families)}", key="target"))
    extra = extra if top in families else f"pip install {top.replace('_', '-')}"
    found = getattr(load(module, extra, role), name, None)
    bases = base()
    if not isinstance(found, type) or found.__module__.partition(".")[0] != top or not issubclass(found, bases):
        wanted = " or ".join(b.__name__ for b in bases)
        raise ConfigError(
            Problem(
                f"{target!r} is no {role}",
                key="target",
                hint=f"name a class of {top} that derives from {wanted}",
            )
        )
    return found


def target_problems(target: str, families: Sequence[str]) -> list[str]:
    """What is wrong with a dotted name of a library's class, as far as one can tell without importing it."""
    top, dot, _ = target.partition(".")
    if not dot or not _of(top, families):
        return [f"target: {target!r} is not of a library of {' or '.join(families)}"]
    if top not in sys.modules and importlib.util.find_spec(top) is None:
        return [f"target: the library {top!r} is not installed; pip install {top.replace('_', '-')}"]
    return []


def _of(top: str, families: Sequence[str]) -> bool:
    return any(top == family or top.startswith(f"{family}_") for family in families)
