"""Misspelled names are answered with the nearest valid ones."""

from __future__ import annotations

from llmops_flows.text.suggestions import did_you_mean


def test_the_nearest_name_is_offered() -> None:
    assert did_you_mean("smolm2", ["smollm2", "openai"]).startswith("did you mean 'smollm2'?")
    assert did_you_mean("xyz", ["a"]) == "choose from: a"
