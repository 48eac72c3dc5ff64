"""A constraint is evaluated as data and never runs as code."""

from __future__ import annotations

from typing import Any

import pytest

from llmops_flows import ConfigError
from llmops_flows.sweeps.grid.constraints import Constraint

POINT: dict[str, Any] = {
    "retriever": "bm25",
    "retriever.k": 8,
    "model": "openai",
    "model.seed": None,
    "cache.refresh": True,
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("retriever.k < 8", False),
        ("retriever.k <= 8 and model == openai", True),
        ("retriever == bm25", True),
        ("retriever == 'bm25'", True),
        ("retriever != bm25 or retriever.k > 7", True),
        ("not retriever in [chroma, hybrid]", True),
        ("retriever in ('bm25', 'chroma')", True),
        ("model.seed == null", True),
        ("cache.refresh == true", True),
        ("2 < retriever.k < 9", True),
        ("retriever.k > -1", True),
    ],
)
def test_a_constraint_holds_or_not(text: str, holds: bool) -> None:
    assert Constraint(text).holds(POINT.__getitem__) is holds


@pytest.mark.parametrize(
    "text",
    [
        "", "retriever.k <", "__import__('os').system('true')", "retriever.k.__class__()", "[x for x in y]",
        "lambda: 1", "f'{x}'", "retriever[0] == 1", "x := 1", "9**9**9 > 1", "a if b else c", "(" * 500, "k" * 3000,
    ],
)  # fmt: skip
def test_other_code_cannot_be_parsed_and_does_not_run(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot be parsed"):
        Constraint(text)


def test_a_comparison_must_name_a_key() -> None:
    with pytest.raises(ConfigError, match="names no key"):
        Constraint("retriver == bm25").holds(POINT.__getitem__)


def test_values_without_an_order_cannot_be_compared() -> None:
    with pytest.raises(ConfigError, match="cannot be evaluated"):
        Constraint("model < 3").holds(POINT.__getitem__)
