"""Parsing of overrides by the grammar of Hydra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from hydra.errors import HydraException

from llmops_flows.core.errors import ConfigError, Problem

from ..files.groups import options
from .quoting import is_free_text

COMMAND_LINE = "command line"


def parse_override(text: str) -> tuple[Any, Problem | None]:
    """A parsed override, or the problem of one that cannot be read."""
    try:
        return OverridesParser.create().parse_override(text), None
    except (HydraException, RecursionError, ValueError, AssertionError) as error:
        reason = (str(error).splitlines() or ["nested too deep"])[0]
        hint = "write key=value; quote a value that contains commas, brackets, = or quotes: 'key=\"the text\"'"
        what = f"this override cannot be read: {reason}"
        return None, Problem(what, key=text[:200], where=COMMAND_LINE, hint=hint)


def expand_globs(overrides: Sequence[str]) -> list[str]:
    """The overrides with each `glob(…)` replaced by the options it matches, those in subfolders included.

    Hydra's own `glob` matches the first level of a group only.

    Raises:
        ConfigError: a glob matches nothing.
    """
    return [_expand_glob(o) if "=glob(" in o and not is_free_text(o) else o for o in overrides]


def _expand_glob(override: str) -> str:
    parsed, problem = parse_override(override)
    if problem is not None or not isinstance(parsed._value, Glob):
        return override  # what cannot be read is reported with all other problems
    choices = options(parsed.key_or_group)
    matches = parsed._value.filter(choices)
    if not matches:
        hint = f"choose from: {', '.join(choices)}"
        raise ConfigError(Problem("no option matches", key=override, where=COMMAND_LINE, hint=hint))
    return f"{override.partition('=')[0]}={','.join(matches)}"
