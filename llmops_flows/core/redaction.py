"""Finds secrets by their format, their name, or their value in the environment, and masks them."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "[REDACTED]"

# Each pattern with literals (in lower case): every match contains one of them, and searching for the literals first is
# a hundred times faster. Quantifiers are bounded or possessive: a text of 50 KB takes milliseconds.
_SHAPES: tuple[tuple[tuple[str, ...], str], ...] = tuple(
    (tuple(triggers.split()), pattern)
    for triggers, pattern in (
        ("sk- pk- rk-", r"(?<![A-Za-z0-9])[spr]k-(?:ant-|proj-|live-|test-)?[A-Za-z0-9_-]{16,400}"),
        ("k_live_ k_test_", r"(?<![A-Za-z0-9])[spr]k_(?:live|test)_[A-Za-z0-9]{16,200}"),
        ("lsv2_", r"(?<![A-Za-z0-9])lsv2_[a-z]{2}_[A-Za-z0-9_]{16,200}"),
        ("ghp_ gho_ ghu_ ghs_ ghr_", r"(?<![A-Za-z0-9])gh[pousr]_[A-Za-z0-9]{20,300}"),
        ("github_pat_", r"(?<![A-Za-z0-9])github_pat_[A-Za-z0-9_]{20,200}"),
        ("glpat-", r"(?<![A-Za-z0-9])glpat-[A-Za-z0-9_-]{20,200}"),
        ("akia asia", r"(?<![A-Za-z0-9])A[KS]IA[A-Z0-9]{16}(?![A-Za-z0-9])"),
        ("aiza", r"(?<![A-Za-z0-9])AIza[A-Za-z0-9_-]{30,60}"),
        ("xox", r"(?<![A-Za-z0-9])xox[abeprs]-[A-Za-z0-9-]{10,200}"),
        ("hooks.slack.com", r"(?<=hooks\.slack\.com/services/)[A-Za-z0-9/]{20,100}"),
        ("hf_ pl_", r"(?<![A-Za-z0-9])(?:hf_[A-Za-z0-9]{20,100}|pl_[a-f0-9]{32})(?![A-Za-z0-9])"),
        ("gsk_ r8_ pypi- npm_", r"(?<![A-Za-z0-9])(?:gsk_|r8_|pypi-|npm_)[A-Za-z0-9_-]{30,200}"),
        (
            "eyj",
            r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,2000}+\.[A-Za-z0-9_-]{10,4000}+\.[A-Za-z0-9_-]{10,1000}",
        ),
        (
            "-----begin",
            r"-----BEGIN[ A-Z]{0,40}?PRIVATE KEY-----[^-]{0,20000}+(?:-----END[ A-Z]{0,40}?PRIVATE KEY-----)?",
        ),
        ("bearer", r"(?<=\b[Bb]earer )[A-Za-z0-9._~+/-]{16,2000}+=*"),
        ("://", r"(?<=://)[^\s/:@\"']{0,100}:[^\s/@\"']{3,200}(?=@)"),
    )
)
_WORDS = (
    "password", "passwd", "passphrase", "api_key", "api-key", "apikey", "secret", "token", "authorization",
    "access_key", "access-key", "private_key", "account_key", "accountkey", "cookie", "pwd",
)  # fmt: skip
# A name and its value: name=value, "name": "value" (also inside a JSON text), name: value with a digit in it.
_SCHEME = r"(?:basic|bearer|digest|token)[ ]{1,3}"
_SIGN = (
    rf"(?:=>|[=:])[ \t]{{0,3}}\\?[\"'](?:{_SCHEME})?"
    rf"|=[ \t]{{0,3}}(?:{_SCHEME})?"
    rf"|:[ \t]{{1,3}}(?:{_SCHEME}|(?=[^\s\"']{{0,60}}[0-9])(?=[^\s\"']{{8}}))"
)
_NAMED = (
    rf"(?i)((?:{'|'.join(_WORDS)})\\?[\"']?[ \t]{{0,3}}(?:{_SIGN}))"
    r"(?!\$\{|\[REDACTED\])([^\s\"'&,;{}\[\]<>\\]{6,400})"
)
_SECRET_KEY = re.compile(
    r"(?i)(?:^|[^a-z0-9])(?:[a-z0-9]*(?:password|passwd|passphrase|apikey|secret)|(?:api|access|private|secret|account|auth"
    r"|signing|encryption)[-_ ]?key|(?:x[-_])?token|[a-z0-9]+[-_]token|authorization|cookie|credentials?|pwd)$"
)
_SECRET_VARIABLE = re.compile(
    r"(?:^|_)(?:[A-Z0-9]*KEY|[A-Z0-9]*TOKEN|[A-Z0-9]*SECRET|[A-Z0-9]*PASSWORD|PASSWD|PASS|PASSPHRASE|CREDENTIALS?)"
    r"(?:_(?!(?:FILE|PATH|DIR|ENV|ID|NAME|HOST|USER|LIMIT|TYPE)$)[A-Z0-9]{1,20})?$|_PWD$"
)
_SHORTEST = 8
_PLAIN = frozenset(("disabled", "required", "optional", "undefined", "changeme"))
"""Common values that are long enough to count as a secret, but are none."""
_FRESH = 0.5
"""Seconds for which the values of the environment are cached."""
_DEEPEST = 200
_CACHED_LENGTH = 80
"""Results for texts up to this length are cached."""
_registered: set[str] = set()
_last_read = -_FRESH
_known_pattern: tuple[Any, re.Pattern[str] | None] = (None, None)


def register_secret(value: str) -> None:
    """Treat a value as a secret from now on (a key that is not in the environment)."""
    if len(value) >= _SHORTEST:
        global _last_read
        _registered.add(value)
        _last_read = -_FRESH


def redact(text: str) -> str:
    """The text with every secret replaced by `[REDACTED]`."""
    if len(text) < _SHORTEST:
        return text
    known = _known()
    return _short(text, known) if len(text) <= _CACHED_LENGTH else _redact(text, known)


@lru_cache(maxsize=4096)
def _short(text: str, known: re.Pattern[str] | None) -> str:
    """Cached, since names and addresses repeat."""
    return _redact(text, known)


def _redact(text: str, known: re.Pattern[str] | None) -> str:
    spans = list(_spans(text, known))
    if not spans:
        return text
    pieces, end = [], 0
    for first, last in sorted(spans):
        if first >= end:
            pieces += [text[end:first], MASK]
        end = max(end, last)
    return "".join([*pieces, text[end:]])


def has_secret(data: str | bytes) -> bool:
    """Whether a text (or its encoded bytes) contains a secret."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    return next(_spans(text, _known()), None) is not None


def secret_spans(text: str) -> list[tuple[int, int]]:
    """The positions of secrets in a text: (start, end); they may overlap."""
    return list(_spans(text, _known()))


def _spans(text: str, known: re.Pattern[str] | None) -> Iterator[tuple[int, int]]:
    if known is not None:
        yield from (match.span() for match in known.finditer(text))
    low = text.lower()
    for triggers, pattern in _SHAPES:
        for trigger in triggers:
            if trigger in low:
                yield from (match.span() for match in _compiled(pattern).finditer(text))
                break
    names = [word for word in _WORDS if word in low]
    if names and len(low) == len(text):
        for word in names:
            yield from (match.span(2) for match in _at(word, low, text))
    elif names:  # some letters become two in lower case, which shifts positions
        yield from (match.span(2) for match in _compiled(_NAMED).finditer(text))


def _at(word: str, low: str, text: str) -> Iterator[re.Match[str]]:
    """Named secrets at the positions of their names: ten times faster than matching all names everywhere."""
    position = low.find(word)
    while position >= 0:
        match = _compiled(_NAMED).match(text, position)
        if match is not None:
            yield match
        position = low.find(word, position + 1)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compiled on first use: compiling all patterns would slow every start by 15 ms."""
    return re.compile(pattern)


def redact_value(value: Any, *, _depth: int = 0) -> Any:
    """Plain data with every secret replaced, in keys and values at any depth.

    A value under a key that names a secret (`password`, `api_key` …) is always masked. Values that are not plain data
    are converted to text.
    """
    if isinstance(value, str):
        return redact(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if _depth > _DEEPEST:
        return MASK
    if isinstance(value, Mapping):
        return {redact(str(key)): _under(str(key), inner, _depth) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact_value(inner, _depth=_depth + 1) for inner in value]
    return redact(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))


def _under(key: str, value: Any, depth: int) -> Any:
    """The redacted value of a key. References to environment variables are not secrets."""
    if not _names_secret(key):
        return redact_value(value, _depth=depth + 1)
    if isinstance(value, str):
        return value if not value or (value.startswith("${") and value.endswith("}")) else MASK
    if isinstance(value, (list, tuple)):
        return [_under(key, inner, depth + 1) for inner in value]
    return redact_value(value, _depth=depth + 1)


@lru_cache(maxsize=1024)
def _names_secret(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None


def _known() -> re.Pattern[str] | None:
    """One pattern of all secret values of the environment; rebuilt when they change."""
    global _known_pattern, _last_read
    now = time.monotonic()
    if now - _last_read < _FRESH:
        return _known_pattern[1]
    _last_read = now
    values = frozenset(v for n, v in os.environ.items() if _counts(v) and _SECRET_VARIABLE.search(n.upper()))
    secrets = values | _registered
    if _known_pattern[0] != secrets:
        ordered = sorted({form for value in secrets for form in _forms(value)}, key=len, reverse=True)
        _known_pattern = (secrets, re.compile("|".join(map(re.escape, ordered))) if ordered else None)
    return _known_pattern[1]


def _counts(value: str) -> bool:
    return len(value) >= _SHORTEST and value.lower() not in _PLAIN


def _forms(value: str) -> Iterator[str]:
    """The forms of a secret in a text: unchanged, in JSON, in a Python literal, in a URL, line by line."""
    yield value
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield repr(value)[1:-1]
    yield quote(value, safe="")
    yield quote_plus(value)
    if "\n" in value:
        yield from (line for line in value.splitlines() if len(line) >= 2 * _SHORTEST)
