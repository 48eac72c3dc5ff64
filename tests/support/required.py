"""What happens to a test whose service is missing: it is skipped, or it fails where CI requires the service."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

VARIABLE = "LLMOPS_FLOWS_REQUIRE_SERVICES"
"""Names the required services, separated by spaces. `.ci/run` sets it."""


def missing(service: str, reason: str) -> NoReturn:
    if service in os.environ.get(VARIABLE, "").split():
        pytest.fail(f"{service} is required by {VARIABLE}: {reason}", pytrace=False)
    pytest.skip(reason)
