"""The call gate in front of every model and tool: deadline, rate, breaker, bounded retries, in one place.

(placeholder written by the core author; the gate's own author replaces the body, not the names)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from .stage import Seconds

T = TypeVar("T")


class Limits(BaseModel):
    """How a service may be called. Nothing here decides an answer.

    timeout: seconds for one call with all its retries. attempts: tries per backend, the first included.
    requests_per_minute, parallel: what the service allows (None: no limit).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    timeout: Seconds = 60.0
    attempts: int = Field(default=3, ge=1, le=3)
    requests_per_minute: float | None = Field(default=None, gt=0)
    parallel: int | None = Field(default=None, gt=0)


class Gate:
    """One per runner; knows every backend by name."""

    async def call(self, backend: str, limits: Limits, attempt: Callable[[float], Awaitable[T]]) -> T:
        """The answer of `attempt(seconds left)`, tried within the limits.

        Raises:
            BackendError: the last error of the service, when trying again did not or cannot help.
            DeadlineExceeded: the time was used up.
        """
        return await attempt(limits.timeout)
