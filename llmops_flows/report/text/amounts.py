"""Sizes and ages in text: 2GB, 500 KiB, 90d, 12h."""

from __future__ import annotations

import re

from llmops_flows.core.errors import ConfigError, Problem

_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s{0,9}(?:([kmgt]?)(i?)b?)", re.IGNORECASE)
_AGE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s{0,9}([a-z]{1,20})", re.IGNORECASE)
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0, "y": 31_557_600.0}
_UNITS = {"s": "s sec second", "m": "m min minute", "h": "h hour", "d": "d day", "w": "w week", "y": "y year"}


def parse_size(text: str, key: str) -> int:
    """Bytes: 2GB is 2,000,000,000, 2GiB is 2,147,483,648, a bare number counts bytes. Raises ConfigError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or (match[3] and not match[2]):
        hint = f"{key}=2GB, {key}=500MB, {key}=1.5GiB, or a number of bytes"
        raise ConfigError(Problem(f"{text!r} is not a size", key=key, where="command line", hint=hint))
    number, unit, binary = match[1], match[2].lower(), bool(match[3])
    return int(float(number) * (1024 if binary else 1000) ** _POWERS[unit])


def parse_age(text: str, key: str) -> float:
    """Seconds: s, m (minutes), h, d, w, y (365.25 days). Raises ConfigError."""
    match = _AGE.fullmatch(text.strip())
    unit = match[2].lower() if match else ""
    known = next((short for short, words in _UNITS.items() if unit in _with_plurals(words)), None)
    if match is None or known is None:
        hint = f"{key}=90d, {key}=12h, {key}=2w; units are s, m (minutes), h, d, w, y"
        raise ConfigError(Problem(f"{text!r} is not an age", key=key, where="command line", hint=hint))
    return float(match[1]) * _SECONDS[known]


def format_size(count: float) -> str:
    """Bytes as text: 512 B, 1.5 kB, 2.0 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def format_age(seconds: float) -> str:
    """Seconds as text: 5 s, 3 min, 2 h, 41 d."""
    for limit, length, unit in ((120.0, 1.0, "s"), (7200.0, 60.0, "min"), (172_800.0, 3600.0, "h")):
        if seconds < limit:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def _with_plurals(names: str) -> set[str]:
    words = names.split()
    return {*words, *(f"{word}s" for word in words if len(word) > 1)}
