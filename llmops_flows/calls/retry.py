"""When a request is worth a second try, how long to wait before it, and how many there may be."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC

from llmops_flows.core.limits import PER_BACKEND as PER_BACKEND

PER_CALL = 6
"""Requests for one call with all its fallbacks, at most."""

DAY = 86_400.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
FINAL = frozenset({400, 401, 403, 404, 422})
"""Statuses that another try cannot mend, whatever the error says of itself."""


def parse_retry_after(value: str | None, *, now: float | None = None) -> float | None:
    """Seconds that a Retry-After header asks to wait: never negative, at most a day.

    None when there is none, or nothing that can be understood ("soon", "-5", "nan"). A date in the past is 0.

    Args:
        value: the header: seconds (a fraction will do) or an HTTP date.
        now: what a date is compared with, in seconds of `time.time()`; the clock of this machine by default.
    """
    from email.utils import parsedate_to_datetime

    text = (value or "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]*)?|\.[0-9]+", text):
        return min(float(text), DAY)
    try:
        date = parsedate_to_datetime(text)
        until = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(0.0, until - (time.time() if now is None else now)), DAY)


def backoff(tries: int, chance: Callable[[], float] = random.random) -> float:
    """Seconds to wait after so many tries: twice as long each time, half of it by chance.

    chance: a number in [0, 1).
    """
    longest = min(FIRST_PAUSE * 2.0 ** (tries - 1), LONGEST_PAUSE)
    return longest * (0.5 + 0.5 * chance())


class Allowance:
    """How many requests may still fail for one call, with its retries and all of its fallbacks."""

    def __init__(self) -> None:
        self._failed: Counter[str] = Counter()

    def allows(self, backend: str) -> bool:
        """Whether one more request may go to the backend."""
        return self._failed[backend] < PER_BACKEND and self._failed.total() < PER_CALL

    def failed(self, backend: str) -> None:
        """A request to the backend has failed."""
        self._failed[backend] += 1
