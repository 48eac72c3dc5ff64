"""Finds personal data and keys in a text, by patterns and checksums."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, get_args

from llmops_flows.core.redaction import secret_spans

from .validation import TextSpan

PiiKind = Literal["email", "phone", "credit_card", "iban", "ssn", "ip", "key"]
PII_KINDS: tuple[PiiKind, ...] = get_args(PiiKind)
LABELS = {
    "email": "an e-mail address",
    "phone": "a phone number",
    "credit_card": "a credit card number",
    "iban": "an IBAN",
    "ssn": "a social security number",
    "ip": "an IP address",
    "key": "a key or password",
}

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")
_CARD = re.compile(
    r"(?<![\d.+-])(?:\d{12,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?|\d{4}[ -]\d{6}[ -]\d{4,5})(?![ -]?\d)"
)
_IBAN = re.compile(r"\b[A-Za-z]{2}\d{2}(?:[A-Za-z0-9]{11,30}|(?: [A-Z0-9]{4}){2,7}(?: [A-Z0-9]{1,3})?)\b")
_SSN = re.compile(r"(?<![\d-])(?!000|666)\d{3}([- ])(?!00)\d{2}\1(?!0000)\d{4}(?![\d-])")
_IP4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IP6 = re.compile(r"(?<![\w:])[0-9A-Fa-f:]{2,39}(?![\w:])")
_PHONE = re.compile(
    r"(?<![\w./$€£#-])(?<!\d,)(?:\+|00)?\(?\d{1,5}\)?(?:[ .-]?\(?\d{1,4}\)?){1,7}(?: ?x\d{1,5})?(?![\w%/-]|[.,]\d)"
)
_PHONE_CONTEXT = re.compile(
    r"(?i)\b(?:phone|mobile|cell|tel|fax|call|reach|dial|contact|sms|text|whatsapp)\W+(?:\w+\W+){0,4}$"
)


def find_personal_data(text: str, kinds: Sequence[str] = PII_KINDS) -> list[TextSpan]:
    """The spans of personal data, in order. Where kinds overlap, the more reliable one is kept."""
    spans: list[TextSpan] = []
    for kind in (k for k in _FINDERS if k in kinds):
        for start, end in _FINDERS[kind](text):
            if all(end <= span.start or start >= span.end for span in spans):
                spans.append(TextSpan(kind, start, end))
    return sorted(spans, key=lambda span: span.start)


def mask_spans(text: str, spans: Sequence[TextSpan]) -> str:
    """The text with each span replaced by its kind: `[EMAIL]`."""
    for span in reversed(spans):
        text = f"{text[: span.start]}[{span.what.upper()}]{text[span.end :]}"
    return text


Spans = Iterator[tuple[int, int]]


def _matches(pattern: re.Pattern[str], valid: Callable[[str], bool] = lambda text: True) -> Callable[[str], Spans]:
    def find(text: str) -> Spans:
        return (match.span() for match in pattern.finditer(text) if valid(match[0]))

    return find


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def luhn(number: str) -> bool:
    """Whether a card number has a valid check digit and first digit."""
    digits = [int(digit) for digit in _digits(number)]
    doubled = [digit * 2 - 9 if digit > 4 else digit * 2 for digit in digits[-2::-2]]
    return (
        len(digits) > 11
        and digits[0] in (1, 2, 3, 4, 5, 6)
        and len(set(digits)) > 1
        and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
    )


def _iban(text: str) -> bool:
    plain = text.replace(" ", "").upper()
    if not 15 <= len(plain) <= 34 or not plain[:2].isalpha():
        return False
    return int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _ip(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text)) and len(text) > 3
    except ValueError:
        return False


def _ips(text: str) -> Spans:
    yield from _matches(_IP4, _ip)(text)
    if "::" in text or text.count(":") > 6:
        yield from _matches(_IP6, _ip)(text)


def _phones(text: str) -> Spans:
    """Groups of digits that are not an amount, date or range; a bare number only after a word such as `call`."""
    for match in _PHONE.finditer(text):
        number = match[0].strip()
        groups = re.findall(r"\d+", number.partition("x")[0])
        count = sum(map(len, groups))
        in_context = _PHONE_CONTEXT.search(text[max(0, match.start() - 60) : match.start()]) is not None
        has_prefix = number.startswith(("+", "00", "(", "0")) or len(groups) > 2
        formatted = has_prefix and len(groups) > 1 and not _is_other_number(number, groups)
        if 7 <= count <= 15 and (in_context or formatted):
            yield match.start(), match.start() + len(number)


def _is_other_number(text: str, groups: Sequence[str]) -> bool:
    """Whether groups of digits read as an amount, a date or a range."""
    if re.fullmatch(r"\d{1,3}(?:[ .,]\d{3})+", text) and "-" not in text and not text.startswith("0"):
        return len(groups) > 2 and len(groups[0]) < 3
    if re.fullmatch(r"\d+(?:\.\d+){3}", text) and any(len(group) != 2 for group in groups):
        return True  # a version, or an invalid IP address
    dates = r"(?:19|20)\d\d[-.]\d{1,2}[-.]\d{1,2}|\d{1,2}[-.]\d{1,2}[-.](?:19|20)\d\d|(?:19|20)\d\d[ -]+(?:19|20)\d\d"
    return re.match(dates, text) is not None or all(len(group) == 1 for group in groups)


_FINDERS: dict[str, Callable[[str], Spans]] = {
    "key": lambda text: iter(secret_spans(text)),
    "email": _matches(_EMAIL),
    "iban": _matches(_IBAN, _iban),
    "credit_card": _matches(_CARD, luhn),
    "ssn": _matches(_SSN),
    "ip": _ips,
    "phone": _phones,
}
