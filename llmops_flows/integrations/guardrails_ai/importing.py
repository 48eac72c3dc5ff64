"""Imports guardrails-ai without its telemetry, downloads and event loops."""

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
_EXCLUDED = (*SLOW_FORMATS, "nltk")
"""Optional imports that take seconds; nltk would also download a tokenizer."""
_lock = threading.Lock()


def import_guardrails() -> Any:
    """The module `guardrails`, with its telemetry disabled for this process.

    Sets `GUARDRAILS_RUN_SYNC` unless it is set: otherwise guardrails runs each validation on an event loop that it
    never closes, and replaces the event loop policy of the process if uvloop is installed.

    Raises:
        MissingExtra: guardrails-ai is not installed.
    """
    with _lock:
        os.environ.setdefault("GUARDRAILS_RUN_SYNC", "true")
        with _no_download():
            module = load("guardrails", EXTRA, "guardrail", without=_EXCLUDED)
        _disable_telemetry()
        return module


def import_validator(name: str) -> Any:
    """The module `guardrails_ai.<name>` of an installed validator. Raises MissingExtra if it is not installed."""
    import_guardrails()
    with _lock, _no_download():
        return load(f"guardrails_ai.{name}", install_command(name), f"the validator {name!r}", without=_EXCLUDED)


def is_installed(name: str) -> bool:
    """Whether the package of a validator is installed; imports nothing."""
    return name in installed_validators()


def installed_validators() -> list[str]:
    """The names of the installed validator packages; imports nothing."""
    spec = find_spec("guardrails_ai")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return sorted(module.name for module in iter_modules(folders) if module.name != "types")


def install_command(name: str) -> str:
    """The command that installs the package of a validator."""
    return f"pip install guardrails-ai-{name.replace('_', '-')}"


@contextmanager
def _no_download() -> Iterator[None]:
    """Prevent the tokenizer download that guardrails starts on import if nltk is loaded (LlamaIndex loads it)."""
    nltk: Any = sys.modules.get("nltk")
    if nltk is None:
        yield
        return
    original, nltk.download = nltk.download, lambda *_, **__: False
    try:
        yield
    finally:
        nltk.download = original


def _disable_telemetry() -> None:
    """Disable telemetry. Every `Guard()` reads the settings file again, which enables it by default."""
    with hide_modules(_EXCLUDED):
        from guardrails.classes.rc import RC
        from guardrails.settings import settings
    if getattr(RC.load, "silent", False):
        return
    original = RC.load

    def load_silently(*arguments: Any, **options: Any) -> Any:
        settings = original(*arguments, **options)
        settings.enable_metrics = False
        return settings

    load_silently.silent = True  # type: ignore[attr-defined]
    RC.load = load_silently
    settings.rc = RC.load()


__all__ = ["EXTRA", "import_guardrails", "import_validator", "install_command", "installed_validators", "is_installed"]
