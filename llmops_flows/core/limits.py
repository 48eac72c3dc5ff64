"""How a service may be called: what a config says of it, apart from the gate that keeps to it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from .stage import Seconds

PER_BACKEND = 3
"""Requests that one call may send to one backend."""


class Limits(BaseModel):
    """How a service may be called. Nothing here decides an answer.

    timeout: seconds for one call with all its retries and the pauses between them, counted from when the gate lets
    it go (waiting in our own queue for a place or for the rate is not the service's fault). attempts: tries per
    backend, the first included. requests_per_minute, parallel: what the service allows (None: no limit).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    timeout: Seconds = 60.0
    attempts: int = Field(default=PER_BACKEND, ge=1, le=PER_BACKEND)
    requests_per_minute: float | None = Field(default=None, gt=0)
    parallel: int | None = Field(default=None, gt=0)
