"""What counts for a budget: exact sums, the limits that are none, and the most that a call may cost."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from llmops_flows.calls.budget_account import NANO, Amount, Budget
from llmops_flows.components.model.langchain import LangChainModel
from llmops_flows.components.model.openai_compatible import OpenAICompatible
from llmops_flows.core.roles import Prices, most_tokens


def test_the_sum_of_many_small_costs_is_exact() -> None:
    cost = Amount.of({"input_tokens": 1, "output_tokens": 0, "cost_usd": 0.1})
    assert sum([cost] * 10, Amount()) == Amount(NANO, 10)
    assert Amount.of({"cost_usd": 1e-12}).usd == 1  # never rounded down


@pytest.mark.parametrize(
    "limits", [{"usd": -1}, {"usd": math.nan}, {"tokens": 1.5}, {"minutes": math.inf}, {"usdd": 1}]
)
def test_an_invalid_budget_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Budget(**limits)


def test_the_maximum_cost_counts_the_highest_price_and_every_requested_answer() -> None:
    prices, asked = (
        Prices(input=1, cached_input=0.1, cache_write=2, output=10),
        [{"role": "user", "content": "x" * 1000}],
    )
    fields = {"name": "m", "prices": prices, "max_tokens": 100}
    plain = OpenAICompatible(base_url="http://x/v1", **fields).max_cost({"messages": asked})
    assert plain["output_tokens"] == 100 and 1000 < plain["input_tokens"] < 1500
    assert plain["cost_usd"] == pytest.approx((plain["input_tokens"] * 2 + 100 * 10) / 1e6)
    more = OpenAICompatible(base_url="http://x/v1", extra_body={"max_tokens": 500, "n": 3}, **fields)
    wrapped = LangChainModel(target="langchain_openai.ChatOpenAI", params={"max_tokens": 500, "n": 3}, **fields)
    assert (
        more.max_cost({"messages": asked})["output_tokens"]
        == wrapped.max_cost({"messages": asked})["output_tokens"]
        == 1500
    )


def test_no_message_has_more_tokens_than_its_bound() -> None:
    text = "Grüße 🙂 日本語"
    assert most_tokens([{"role": "user", "content": text}]) > len(text.encode()) + 7
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]
    assert most_tokens(picture) > 10_000
