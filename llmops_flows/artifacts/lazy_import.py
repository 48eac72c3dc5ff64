"""Imports libraries on first use."""

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
"""Optional dependencies of jsonschema that are slow to import and that no flow needs."""


def load(name: str, extra: str, needed_by: str = "", *, without: Sequence[str] = ()) -> Any:
    """The module `name`, imported as if the modules in `without` were not installed.

    Raises:
        MissingExtra: its library is not installed; the message names the install line.
    """
    if name in sys.modules:
        return sys.modules[name]
    try:
        with loading(), hide_modules(without), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the library itself
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        top = name.partition(".")[0]
        if (error.name or "").partition(".")[0] != top:
            raise
        raise MissingExtra(top, extra, needed_by) from error


@contextmanager
def hide_modules(names: Sequence[str]) -> Iterator[None]:
    """Within the block, modules that are not imported yet cannot be imported."""
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
    """The class of a dotted name, which must derive from the base class of its role.

    Before the import, its library must be one of `families` (prefixes of package names). After the import, the class
    must be defined in that library: a name cannot reach another library through a module that imports it.

    Raises:
        ConfigError: the library is not one of the families, or the class is unknown or has another role.
        MissingExtra: its library is not installed.
    """
    module, _, name = target.rpartition(".")
    top = target.partition(".")[0]
    if not module or not _belongs_to(top, families):
        raise ConfigError(Problem(f"{target!r} must be a class of a library of {' or '.join(families)}", key="target"))
    extra = extra if top in families else f"pip install {top.replace('_', '-')}"
    cls = getattr(load(module, extra, role), name, None)
    bases = base()
    if not isinstance(cls, type) or cls.__module__.partition(".")[0] != top or not issubclass(cls, bases):
        base_names = " or ".join(b.__name__ for b in bases)
        raise ConfigError(
            Problem(
                f"{target!r} is not a {role}",
                key="target",
                hint=f"name a class of {top} that derives from {base_names}",
            )
        )
    return cls


def target_problems(target: str, families: Sequence[str]) -> list[str]:
    """Errors in the dotted name of a library's class. Imports nothing."""
    top, dot, _ = target.partition(".")
    if not dot or not _belongs_to(top, families):
        return [f"target: {target!r} must be a class of a library of {' or '.join(families)}"]
    if top not in sys.modules and importlib.util.find_spec(top) is None:
        return [f"target: the library {top!r} is not installed; pip install {top.replace('_', '-')}"]
    return []


def _belongs_to(top: str, families: Sequence[str]) -> bool:
    return any(top == family or top.startswith(f"{family}_") for family in families)
