"""Parsing of one override by the grammar of Hydra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hydra.errors import HydraException

from llmops_flows.core.errors import Problem

if TYPE_CHECKING:
    pass


LINE = "command line"


def parse(text: str) -> tuple[Any, Problem | None]:
    """An override taken apart, or the fault of one that cannot be read."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    try:
        return OverridesParser.create().parse_override(text), None
    except (HydraException, RecursionError, ValueError, AssertionError) as error:
        reason = (str(error).splitlines() or ["it nests too deep"])[0]
        hint = "write key=value; quote a value that holds commas, brackets, = or quotes: 'key=\"the text\"'"
        return None, Problem(f"this override cannot be read: {reason}", key=text[:200], where=LINE, hint=hint)
