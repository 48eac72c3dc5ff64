"""The retry policy: final statuses, the pause before the next attempt, and the number of attempts."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC

from llmops_flows.core.limits import PER_BACKEND

PER_CALL = 6
"""Maximum number of requests that may fail for one call with all its fallbacks."""

DAY = 86_400.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
FINAL = frozenset({400, 401, 403, 404, 422})
"""HTTP statuses that are never retried, even if the error says `retryable`."""


def parse_retry_after(value: str | None, *, now: float | None = None) -> float | None:
    """The seconds of a Retry-After header: from 0 (a date in the past) to one day.

    None without a header, or if it cannot be parsed ("soon", "-5", "nan").

    Args:
        value: the header: seconds (also fractions) or an HTTP date.
        now: the time that a date is compared with; default: `time.time()`.
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


def backoff(attempts: int, chance: Callable[[], float] = random.random) -> float:
    """Seconds to wait after a number of attempts: doubled each time, half of it random (`chance`: in [0, 1))."""
    longest = min(FIRST_PAUSE * 2.0 ** (attempts - 1), LONGEST_PAUSE)
    return longest * (0.5 + 0.5 * chance())


class Allowance:
    """Limits the number of failed requests of one call, including its retries and fallbacks."""

    def __init__(self) -> None:
        self._failed: Counter[str] = Counter()

    def allows(self, backend: str) -> bool:
        """Whether another request to the backend is allowed."""
        return self._failed[backend] < PER_BACKEND and self._failed.total() < PER_CALL

    def failed(self, backend: str) -> None:
        """Count a failed request."""
        self._failed[backend] += 1
