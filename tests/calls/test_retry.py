"""Retry-After is understood in every form; pauses grow; no call is asked without end."""

from __future__ import annotations

import math
from email.utils import formatdate

import pytest

from llmops_flows.calls.retry import DAY, PER_BACKEND, PER_CALL, Allowance, backoff, parse_retry_after

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("90", 90.0),
        (" 600 ", 600.0),
        ("1.5", 1.5),
        (".25", 0.25),
        ("3.", 3.0),
        ("99999999999", DAY),
        ("9" * 400, DAY),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW + 90), 90.0),
        ("Fri, 15 Jan 2027 08:01:30", 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", DAY),
    ],
)
def test_seconds_and_dates_are_parsed(header: str, seconds: float) -> None:
    assert parse_retry_after(header, now=NOW) == seconds


@pytest.mark.parametrize(
    "header",
    [None, "", " ", "soon", "-5", "nan", "inf", "1e3", "0x10", "1,5", "\u0663", "5 s", "\x00", "Fri, 99 Foo 2026"],
)
def test_a_header_that_cannot_be_parsed_counts_as_absent(header: str | None) -> None:
    assert parse_retry_after(header, now=NOW) is None


def test_a_date_is_compared_with_this_machines_clock_by_default() -> None:
    import time

    found = parse_retry_after(formatdate(time.time() + 30, usegmt=True))
    assert found is not None and 28 < found <= 30


def test_pauses_double_up_to_a_maximum_and_half_of_each_is_random() -> None:
    assert [backoff(tries, lambda: 1.0) for tries in (1, 2, 3, 9)] == [0.5, 1.0, 2.0, 8.0]
    assert [backoff(tries, lambda: 0.0) for tries in (1, 2)] == [0.25, 0.5]
    assert len({backoff(1) for _ in range(50)}) > 40
    assert math.isfinite(backoff(1000))


def test_an_allowance_bounds_each_backend_and_the_whole_call() -> None:
    allowance = Allowance()
    for backend, times in (("a", PER_BACKEND), ("b", PER_BACKEND)):
        assert allowance.allows(backend)
        for _ in range(times):
            allowance.failed(backend)
        assert not allowance.allows(backend)
    assert PER_CALL == 2 * PER_BACKEND and not allowance.allows("c")
