"""A circuit breaker: stops requests to a backend that keeps failing, and probes it at intervals."""

from __future__ import annotations


class Breaker:
    """Opens after `failures` failures in a row; then admits one probe per `cool_down` seconds until one succeeds.

    Methods take the current time as `now`, from any monotonic clock.
    """

    def __init__(self, failures: int, cool_down: float) -> None:
        self.last_error = ""
        self.failures_in_row = 0
        self._max_failures = failures
        self._cool_down = cool_down
        self._opened: float | None = None
        self._last_failure = float("-inf")
        self._probing = False

    def open_for(self, now: float) -> float:
        """Seconds until the next request is admitted; 0 if it is admitted now."""
        if self._opened is None:
            return 0.0
        left = self._opened + self._cool_down - now
        if left > 0:
            return left
        return self._cool_down if self._probing else 0.0

    def start(self) -> bool:
        """Record the start of a request. Returns True for a probe, whose sender calls `end_probe` afterwards."""
        if self._opened is None:
            return False
        self._probing = True
        return True

    def end_probe(self) -> None:
        """Record the end of the probe, whether it succeeded or failed."""
        self._probing = False

    def succeeded(self) -> None:
        """Record an answer of the backend. A refusal counts as an answer."""
        self.failures_in_row, self._opened, self.last_error = 0, None, ""

    def failed(self, now: float, error: str, *, since: float, busy: bool = False) -> None:
        """Record the failure of a request that was sent at `since`.

        Args:
            busy: the backend was overloaded (429). Requests that overlap then count as one failure.
        """
        if busy and since < self._last_failure:
            return
        self._last_failure, self.last_error, self.failures_in_row = now, error, self.failures_in_row + 1
        probe_failed = self._opened is not None and now >= self._opened + self._cool_down
        if probe_failed or (self._opened is None and self.failures_in_row >= self._max_failures):
            self._opened = now
