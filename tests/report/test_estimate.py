"""Estimates of time and cost follow from past answers and current prices."""

from __future__ import annotations

from typing import Any

import pytest

from llmops_flows.core.roles import Prices
from llmops_flows.report.estimate import (
    Estimate,
    History,
    PartialSum,
    PastAnswer,
    component_name,
    format_count,
    format_duration,
    format_usd,
)
from llmops_flows.testing.fakes import CountedModel
from llmops_flows.testing.models import ScriptedModel

CHEAP = Prices(input=1.0, output=10.0)


def past(stage: Any, seconds: float, read: int, written: int, place: str = "model") -> PastAnswer:
    usage = {"input_tokens": read, "output_tokens": written}
    return PastAnswer(place, component_name(stage), stage.identity, seconds, usage)


def test_a_stage_is_estimated_from_its_own_answers() -> None:
    model, other = CountedModel(name="one", prices=CHEAP), CountedModel(name="two")
    history = History([past(model, 1.0, 100, 10), past(model, 3.0, 300, 30), past(other, 99.0, 9000, 9000)])
    found = history.estimate("model", model) * 10
    assert found.seconds == PartialSum(20.0) and found.tokens == PartialSum(2200.0)
    assert found.usd.known == pytest.approx(10 * (200 * 1.0 + 20 * 10.0) / 1e6)


def test_estimates_use_current_prices() -> None:
    history = History([past(CountedModel(prices=CHEAP), 1.0, 1000, 0)])
    dear = CountedModel(prices=Prices(input=50.0))  # prices are no part of what a model is
    assert history.estimate("model", dear).usd.known == pytest.approx(0.05)


def test_a_new_model_is_estimated_from_others_in_its_place() -> None:
    new = ScriptedModel(answers=("x",), prices=CHEAP, max_tokens=20)
    history = History([past(CountedModel(), 1.0, 100, 50), past(CountedModel(), 1.0, 100, 50, place="judge")])
    found = history.estimate("model", new)
    assert found.tokens == PartialSum(120.0) and found.usd.known == pytest.approx((100 + 20 * 10) / 1e6)
    assert found.seconds.incomplete and not found.complete


def test_new_stages_are_unknown_unless_they_are_free() -> None:
    history = History([])
    dear, free = history.estimate("m", CountedModel(prices=CHEAP)), history.estimate("m", CountedModel())
    assert dear.usd.incomplete and free.usd == PartialSum() and free.tokens.incomplete


def test_sums_keep_the_known_part() -> None:
    whole = Estimate(PartialSum(90.0), PartialSum(1500.0), PartialSum(0.5)) + Estimate(PartialSum(incomplete=True))
    assert [format_duration(whole.seconds), format_count(whole.tokens), format_usd(whole.usd)] == [
        "1.5 min + ?",
        "1.5 k",
        "$0.50",
    ]
    assert (
        format_duration(PartialSum(incomplete=True)) == "?"
        and format_usd(PartialSum()) == "-"
        and format_usd(PartialSum(0.00123)) == "$0.0012"
    )
    assert (
        format_count(PartialSum(2_400_000)) == "2.4 M"
        and format_duration(PartialSum(7200)) == "2.0 h"
        and format_count(PartialSum(12)) == "12"
    )
