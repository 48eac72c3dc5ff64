"""Importing guardrails-ai quietly: no telemetry, no download, no event loop of its own."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any

from llmops_flows.artifacts.lazy_import import SLOW_FORMATS, hide_modules, load

EXTRA = "guardrails"
_UNWANTED = (*SLOW_FORMATS, "nltk")
"""Optional imports that cost seconds; nltk would download a tokenizer, too."""
_lock = threading.Lock()


def import_guardrails() -> Any:
    """The module `guardrails`, imported by the first who asks, with its telemetry switched off for this process.

    `GUARDRAILS_RUN_SYNC` is set unless it is set already: else guardrails runs each validation on an event loop that
    it never closes, and replaces the process's event loop policy where uvloop is installed.

    Raises:
        MissingExtra: guardrails-ai is not installed.
    """
    with _lock:
        os.environ.setdefault("GUARDRAILS_RUN_SYNC", "true")
        with _no_download():
            module = load("guardrails", EXTRA, "guardrail", without=_UNWANTED)
        _silence()
        return module


def import_validator(name: str) -> Any:
    """The module `guardrails_ai.<name>` of an installed validator. Raises MissingExtra when it is not installed."""
    import_guardrails()
    with _lock, _no_download():
        return load(f"guardrails_ai.{name}", install_command(name), f"the validator {name!r}", without=_UNWANTED)


def is_installed(name: str) -> bool:
    """Whether the validator's package is installed; imports nothing of it."""
    return name in installed_validators()


def installed_validators() -> list[str]:
    """The names of the installed validators of guardrails-ai; imports none of them."""
    spec = find_spec("guardrails_ai")
    places = list(spec.submodule_search_locations or ()) if spec else []
    return sorted(found.name for found in iter_modules(places) if found.name != "types")


def install_command(name: str) -> str:
    """What installs the validator's package."""
    return f"pip install guardrails-ai-{name.replace('_', '-')}"


@contextmanager
def _no_download() -> Iterator[None]:
    """Where somebody (LlamaIndex) has imported nltk before, guardrails would have it fetch a tokenizer at import."""
    nltk: Any = sys.modules.get("nltk")
    if nltk is None:
        yield
        return
    original, nltk.download = nltk.download, lambda *_, **__: False
    try:
        yield
    finally:
        nltk.download = original


def _silence() -> None:
    """Every `Guard()` reads its settings file again, where telemetry is on unless the file says otherwise."""
    with hide_modules(_UNWANTED):
        from guardrails.classes.rc import RC
        from guardrails.settings import settings
    if getattr(RC.load, "silent", False):
        return
    original = RC.load

    def load_silently(*arguments: Any, **options: Any) -> Any:
        found = original(*arguments, **options)
        found.enable_metrics = False
        return found

    load_silently.silent = True  # type: ignore[attr-defined]
    RC.load = load_silently
    settings.rc = RC.load()


__all__ = ["EXTRA", "import_guardrails", "import_validator", "install_command", "installed_validators", "is_installed"]
