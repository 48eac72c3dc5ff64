"""Secrets: found by shape, by name and by the environment's own values, and taken out of what is written or sent."""

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

# Each shape with the literals one of which every match holds (in lower case): looking for those first is a hundred
# times faster. Quantifiers are bounded, or possessive, so that no text of 50 KB takes longer than milliseconds.
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
"""Values that are long enough to be a secret but are words that stand everywhere."""
_FRESH = 0.5
"""Seconds for which the values of the environment are not read again."""
_DEEPEST = 200
_REMEMBERED = 80
"""Texts up to this length are looked at once."""
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
    if len(text) < _SHORTEST:
        return text
    known = _known()
    return _short(text, known) if len(text) <= _REMEMBERED else _redact(text, known)


@lru_cache(maxsize=4096)
def _short(text: str, known: re.Pattern[str] | None) -> str:
    """Names and addresses come again and again."""
    return _redact(text, known)


def _redact(text: str, known: re.Pattern[str] | None) -> str:
    found = list(_spans(text, known))
    if not found:
        return text
    pieces, end = [], 0
    for first, last in sorted(found):
        if first >= end:
            pieces += [text[end:first], MASK]
        end = max(end, last)
    return "".join([*pieces, text[end:]])


def has_secret(data: str | bytes) -> bool:
    """Whether a text (or its encoded bytes) holds a secret."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    return next(_spans(text, _known()), None) is not None


def secret_spans(text: str) -> list[tuple[int, int]]:
    """Where secrets lie in a text: (first character, one after the last); they may overlap."""
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
    elif names:  # a letter has two in lower case: places do not agree
        yield from (match.span(2) for match in _compiled(_NAMED).finditer(text))


def _at(word: str, low: str, text: str) -> Iterator[re.Match[str]]:
    """Named secrets where their name lies: ten times faster than looking for all names at every place."""
    place = low.find(word)
    while place >= 0:
        match = _compiled(_NAMED).match(text, place)
        if match is not None:
            yield match
        place = low.find(word, place + 1)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Most texts suspect none of them, and compiling them all would cost every start 15 ms."""
    return re.compile(pattern)


def looks_like_key(text: str) -> bool:
    """Whether a word typed on a command line is a key rather than a setting."""
    return has_secret(text)


def redact_value(value: Any, *, _depth: int = 0) -> Any:
    """Plain data with every secret replaced, in keys and values, however deep.

    What stands under a key that names a secret (`password`, `api_key` …) is masked whatever it looks like. What is no
    plain data becomes text.
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
    """A value as it may be shown under its key. References to the environment are no secrets."""
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
    """One pattern of all secret values of the environment; made anew when the environment changed."""
    global _seen, _looked
    now = time.monotonic()
    if now - _looked < _FRESH:
        return _seen[1]
    _looked = now
    values = frozenset(v for n, v in os.environ.items() if _counts(v) and _SECRET_VARIABLE.search(n.upper()))
    marks = values | _registered
    if _seen[0] != marks:
        ordered = sorted({form for value in marks for form in _forms(value)}, key=len, reverse=True)
        _seen = (marks, re.compile("|".join(map(re.escape, ordered))) if ordered else None)
    return _seen[1]


def _counts(value: str) -> bool:
    return len(value) >= _SHORTEST and value.lower() not in _PLAIN


def _forms(value: str) -> Iterator[str]:
    """A secret as it may stand in a text: as it is, in JSON, in a Python literal, in a URL, line by line."""
    yield value
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield repr(value)[1:-1]
    yield quote(value, safe="")
    yield quote_plus(value)
    if "\n" in value:
        yield from (line for line in value.splitlines() if len(line) >= 2 * _SHORTEST)
