"""Quotes free text of the command line for Hydra's grammar, so that it stays as typed."""

from __future__ import annotations

import re
from collections.abc import Sequence

FREE_TEXT = ("question", "sweep.where")
"""Keys whose value is plain text: no sweep, no interpolation, no quotes needed."""


def quote_overrides(overrides: Sequence[str]) -> list[str]:
    """The overrides with the values of free-text keys quoted for Hydra's grammar."""
    return [_quoted(override) for override in overrides]


def is_free_text(override: str) -> bool:
    """Whether the value of an override is free text."""
    return override.partition("=")[0].lstrip("+") in FREE_TEXT


def _quoted(override: str) -> str:
    key, equals, text = override.partition("=")
    if not equals or not is_free_text(override) or text in ("", "null"):
        return override
    return f"{key}={quote(text)}"


def quote(text: str) -> str:
    """A text as a single-quoted value of Hydra's grammar, in which nothing is interpolated."""
    # The lookbehind matches each run of backslashes once, from its start; otherwise the time would be quadratic.
    text = re.sub(r"(?<!\\)(\\++)(?=')", r"\1\1", text)
    text = re.sub(r"(?<!\\)(\\++)\Z", r"\1\1", text)
    text = re.sub(r"(?<!\\)(\\*+)\$\{", lambda m: "\\" * (2 * len(m[1])) + "\\${", text)
    return "'" + text.replace("'", "\\'") + "'"
