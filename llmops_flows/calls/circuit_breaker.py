"""A breaker: a backend that keeps failing is left alone, and asked now and then whether it has recovered."""

from __future__ import annotations


class Breaker:
    """Opens after `failures` failures in a row; then one probe per `cool_down` seconds, until one succeeds.

    It has no clock: `now` is any that only goes forward.
    """

    def __init__(self, failures: int, cool_down: float) -> None:
        self.why = ""
        self.row = 0
        self._failures = failures
        self._cool_down = cool_down
        self._opened: float | None = None
        self._last = float("-inf")
        self._probing = False

    def rests(self, now: float) -> float:
        """Seconds for which the backend is not asked; 0 when it may be asked now."""
        if self._opened is None:
            return 0.0
        left = self._opened + self._cool_down - now
        if left > 0:
            return left
        return self._cool_down if self._probing else 0.0

    def begin(self) -> bool:
        """A request goes out. True when it is the probe; whoever sent it says `probed` when it is over."""
        if self._opened is None:
            return False
        self._probing = True
        return True

    def probed(self) -> None:
        """The probe is over, whatever came of it."""
        self._probing = False

    def succeeded(self) -> None:
        """The backend has answered, be it with a refusal."""
        self.row, self._opened, self.why = 0, None, ""

    def failed(self, now: float, why: str, *, since: float, busy: bool = False) -> None:
        """The backend has failed a request that was sent at `since`.

        busy: it said only that it has too much to do. Of requests that were under way together, one counts then:
        twenty that are turned away at once say no more than one.
        """
        if busy and since < self._last:
            return
        self._last, self.why, self.row = now, why, self.row + 1
        over = self._opened is not None and now >= self._opened + self._cool_down
        if over or (self._opened is None and self.row >= self._failures):
            self._opened = now
