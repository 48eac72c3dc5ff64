"""Secrets: found by shape and by the environment's own values, and taken out of whatever is written or sent."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from typing import Any

MASK = "[REDACTED]"

# Each shape with the literals one of which every match holds: looking for those first is a hundred times faster.
_SHAPES: tuple[tuple[tuple[str, ...], re.Pattern[str]], ...] = tuple(
    (tuple(triggers.split()), re.compile(pattern))
    for triggers, pattern in (
        ("sk- pk- rk-", r"\b[spr]k-(?:ant-|proj-|live-|test-)?[A-Za-z0-9_-]{16,200}"),
        ("k_live_ k_test_", r"\b[spr]k_(?:live|test)_[A-Za-z0-9]{16,200}"),
        ("lsv2_", r"\blsv2_[a-z]{2}_[A-Za-z0-9_]{16,200}"),
        ("ghp_ gho_ ghu_ ghs_ ghr_", r"\bgh[pousr]_[A-Za-z0-9]{20,200}"),
        ("github_pat_", r"\bgithub_pat_[A-Za-z0-9_]{20,200}"),
        ("AKIA ASIA", r"\bA[KS]IA[A-Z0-9]{16}\b"),
        ("AIza", r"\bAIza[A-Za-z0-9_-]{30,60}"),
        ("xox", r"\bxox[abprs]-[A-Za-z0-9-]{10,200}"),
        ("hf_ pl_", r"\b(?:hf_[A-Za-z0-9]{20,100}|pl_[a-f0-9]{32})\b"),
        ("eyJ", r"\beyJ[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10,1000}"),
        (
            "-----BEGIN",
            r"-----BEGIN[ A-Z]{0,40}PRIVATE KEY-----[^-]{0,20000}(?:-----END[ A-Z]{0,40}PRIVATE KEY-----)?",
        ),
        ("Bearer", r"(?<=\bBearer )[A-Za-z0-9._~+/-]{16,2000}=*"),
        ("://", r"(?<=://)[^\s/:@\"']{1,100}:[^\s/@\"']{3,200}(?=@)"),
        (
            "=",
            r"(?i:(?<=password=)|(?<=passwd=)|(?<=api_key=)|(?<=apikey=)|(?<=secret=)|(?<=token=))"
            r"[^\s\"'&,;{}\[\]$<]{6,200}",
        ),
    )
)
_NAMES = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIALS")
_SHORTEST = 8
_FRESH = 0.5
"""Seconds for which the values of the environment are not read again."""
_registered: set[str] = set()
_looked = -_FRESH
_seen: tuple[Any, re.Pattern[str] | None] = (None, None)


def register_secret(value: str) -> None:
    """Count a value as a secret from now on (a key that came from elsewhere than the environment)."""
    if len(value) >= _SHORTEST:
        global _looked
        _registered.add(value)
        _looked = -_FRESH


def redact(text: str) -> str:
    """The text with every secret replaced by `[REDACTED]`."""
    known = _known()
    if known is not None:
        text = known.sub(MASK, text)
    for pattern in _suspects(text):
        text = pattern.sub(MASK, text)
    return text


def has_secret(data: str | bytes) -> bool:
    """Whether a text (or its encoded bytes) holds a secret."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    known = _known()
    if known is not None and known.search(text):
        return True
    return any(pattern.search(text) for pattern in _suspects(text))


def looks_like_key(text: str) -> bool:
    """Whether a word typed on a command line is a key rather than a setting."""
    return has_secret(text)


def redact_value(value: Any) -> Any:
    """Plain data with every secret replaced, in keys and values, however deep."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(key)): redact_value(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact_value(inner) for inner in value]
    return value


def _suspects(text: str) -> list[re.Pattern[str]]:
    return [pattern for triggers, pattern in _SHAPES if any(trigger in text for trigger in triggers)]


def _known() -> re.Pattern[str] | None:
    """One pattern of all secret values of the environment; made anew when the environment changed."""
    global _seen, _looked
    now = time.monotonic()
    if now - _looked < _FRESH:
        return _seen[1]
    _looked = now
    values = frozenset(v for n, v in os.environ.items() if len(v) >= _SHORTEST and n.upper().endswith(_NAMES))
    marks = values | _registered
    if _seen[0] != marks:
        ordered = sorted(marks, key=len, reverse=True)
        _seen = (marks, re.compile("|".join(map(re.escape, ordered))) if ordered else None)
    return _seen[1]
