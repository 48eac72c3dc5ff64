"""The limits of calls to a service, as a config sets them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from .stage import Seconds

PER_BACKEND = 3
"""Maximum number of requests of one call to one backend."""


class Limits(BaseModel):
    """The limits of calls to a service. Operational: no part of an identity.

    Attributes:
        timeout: seconds for one call, with its retries and the pauses between them. Waiting for the concurrency or
            rate limit before the first request does not count.
        attempts: requests per backend, the first included.
        requests_per_minute: the rate limit of the service; None: no limit.
        parallel: the concurrency limit of the service; None: no limit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    timeout: Seconds = 60.0
    attempts: int = Field(default=PER_BACKEND, ge=1, le=PER_BACKEND)
    requests_per_minute: float | None = Field(default=None, gt=0)
    parallel: int | None = Field(default=None, gt=0)
