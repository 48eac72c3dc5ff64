"""Parsing of one override by the grammar of Hydra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.errors import HydraException

from llmops_flows.core.errors import ConfigError, Problem

from ..files.groups import options
from .quoting import is_free_text

COMMAND_LINE = "command line"


def parse_override(text: str) -> tuple[Any, Problem | None]:
    """An override taken apart, or the fault of one that cannot be read."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    try:
        return OverridesParser.create().parse_override(text), None
    except (HydraException, RecursionError, ValueError, AssertionError) as error:
        reason = (str(error).splitlines() or ["it nests too deep"])[0]
        hint = "write key=value; quote a value that holds commas, brackets, = or quotes: 'key=\"the text\"'"
        return None, Problem(f"this override cannot be read: {reason}", key=text[:200], where=COMMAND_LINE, hint=hint)


def expand_globs(overrides: Sequence[str]) -> list[str]:
    """The overrides with `glob(…)` written out: Hydra's own looks at the first level of a group only."""
    return [_expanded(o) if "=glob(" in o and not is_free_text(o) else o for o in overrides]


def _expanded(override: str) -> str:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Glob
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException:
        return override  # told with everything else that is wrong
    group, wanted = parsed.key_or_group, parsed._value
    known = options(group)
    if not isinstance(wanted, Glob):
        return override
    found = wanted.filter(known)
    if not found:
        hint = f"there are {', '.join(known)}"
        raise ConfigError(Problem("nothing matches", key=override, where="command line", hint=hint))
    return f"{group}={','.join(found)}"
