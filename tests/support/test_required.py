"""A missing service is a skip, or a failure where it is required."""

from __future__ import annotations

import pytest

from .required import VARIABLE, missing


def test_a_missing_service_is_a_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "redis-server")
    with pytest.raises(pytest.skip.Exception, match="not installed"):
        missing("chromium", "Chromium is not installed")


def test_a_missing_service_that_is_required_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "redis-server chromium")
    with pytest.raises(pytest.fail.Exception, match="chromium is required by"):
        missing("chromium", "Chromium is not installed")
