"""One thing is told as one, also where most runs have many."""

from __future__ import annotations

import pytest

from llmops_flows.core.plural import plural
from llmops_flows.report.leaderboard import leaderboard
from llmops_flows.report.saved_runs import SavedRun
from llmops_flows.report.text.leaderboard_text import format_leaderboard
from llmops_flows.tracing.delivery import Delivery


@pytest.mark.parametrize(
    ("count", "words", "told"),
    [
        (1, ("record",), "1 record"),
        (0, ("record",), "0 records"),
        (2, ("entry", "entries"), "2 entries"),
        (1, ("child", "children"), "1 child"),
        (12_000, ("token",), "12,000 tokens"),
    ],
)
def test_a_count_has_the_word_that_goes_with_it(count: int, words: tuple[str, ...], told: str) -> None:
    assert plural(count, *words) == told


def test_a_delivery_counts_pending_and_delivered_traces() -> None:
    assert str(Delivery("langsmith", 0, 1)) == "langsmith: 1 trace pending"
    assert str(Delivery("langsmith", 0, 2)) == "langsmith: 2 traces pending"
    assert str(Delivery("langsmith", 1, 0)) == "langsmith: 1 trace delivered"


def test_a_board_of_one_variant_and_one_question_is_no_board_of_many() -> None:
    rows = [{"id": "a", "question": "Q?", "answer": "A", "error": None, "scores": {"hit": 1.0}}]
    told = format_leaderboard(leaderboard([SavedRun("v1", rows=rows)]))
    assert "1 point x 1 question" in told and "1 points" not in told and "1 questions" not in told
