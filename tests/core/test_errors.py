"""Errors say what, where and how to mend, and survive the way between processes."""

from __future__ import annotations

import copy

import pytest

from llmops_flows.core import errors
from llmops_flows.core.errors import BackendError, ConfigError, FlowError, MissingExtra, Problem


def test_a_config_error_tells_all_its_problems() -> None:
    error = ConfigError([Problem("unknown", key="a.b", where="x.yaml:3", hint="say so"), Problem("other")])
    assert "2 errors" in str(error)
    assert "a.b (x.yaml:3): unknown\n    say so" in str(error)


def test_details_survive_a_copy_through_reduce() -> None:
    error = copy.copy(BackendError("slow down", status=429, retry_after=2.0, retryable=True, stage="model"))
    assert (error.status, error.retry_after, error.retryable, error.stage) == (429, 2.0, True, "model")
    assert str(error) == "slow down"


@pytest.mark.parametrize("name", [n for n in dir(errors) if isinstance(getattr(errors, n), type)])
def test_every_error_can_be_rebuilt(name: str) -> None:
    cls = getattr(errors, name)
    if not issubclass(cls, FlowError):
        return
    error = MissingExtra("chromadb", "chroma") if cls is MissingExtra else cls("what happened")
    rebuild, arguments = error.__reduce__()
    assert str(rebuild(*arguments)) == str(error)


def test_a_missing_extra_names_the_install_line() -> None:
    assert "pip install 'llmops-flows[chroma]'" in str(MissingExtra("chromadb", "chroma", "retriever=chroma"))
