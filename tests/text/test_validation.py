"""A chain of validators, and what of an unfinished answer it lets out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_flows import GuardrailError
from llmops_flows.text.validation import (
    GuardrailRule,
    OnFail,
    ValidationResult,
    apply_rules,
    releasable_text,
    sentence_parts,
)
from llmops_flows.text.validators import PII, ForbiddenTopics, Length, NotEmpty, Supported, Toxicity, ValidJson

DOCUMENTS = [{"id": "1", "page_content": "Standard covers emergency care at any hospital.", "metadata": {}}]
FACTS: dict[str, Any] = {"documents": DOCUMENTS}
TOPICS = ForbiddenTopics(topics=("weapon",))


def rule(validator: Any, on_fail: OnFail) -> GuardrailRule:
    return GuardrailRule(validator.name, validator, on_fail)


def test_each_validator_sees_what_the_fixes_before_it_made() -> None:
    rules = [rule(PII(), "fix"), rule(Length(most=11), "fix")]
    found = apply_rules(rules, "Ask ann@mail.org today", {})
    assert found.text == "Ask [EMAIL]"
    assert found.action == "fix"
    assert [f["validator"] for f in found.verdict["failures"]] == ["pii", "length"]


def test_the_first_that_blocks_ends_it() -> None:
    found = apply_rules([rule(TOPICS, "refrain"), rule(PII(), "fix")], "Weapons? Ask ann@mail.org", {})
    assert found.action == "refrain"
    assert [f["validator"] for f in found.verdict["failures"]] == ["forbidden_topics"]
    assert found.outcome("No.").ends


def test_noop_only_tells() -> None:
    found = apply_rules([rule(TOPICS, "noop")], "Weapons?", {})
    assert (found.text, found.action, found.verdict["passed"]) == ("Weapons?", "noop", False)


def test_a_fix_that_there_is_none_for_blocks() -> None:
    found = apply_rules([rule(ValidJson(), "fix")], "no json", {})
    assert found.action == "refrain"
    assert found.outcome("No.").value == "No."


def test_reask_tells_the_model_what_was_wrong() -> None:
    outcome = apply_rules([rule(ValidJson(), "reask")], "no json", {}).outcome("No.")
    assert "not valid JSON" in outcome.retry
    assert outcome.value == "No."


def test_exception_names_the_validator() -> None:
    with pytest.raises(GuardrailError, match="forbidden_topics: the text mentions 'weapon'"):
        apply_rules([rule(TOPICS, "exception")], "Weapons?", {})


def test_a_text_that_passes_stays_as_it_is() -> None:
    text = "  Standard covers care. \n\n And so on \n"
    assert apply_rules([rule(PII(), "fix"), rule(Supported(), "fix")], text, FACTS) == ValidationResult(text)


def test_a_verdict_tells_where_without_the_text() -> None:
    failures = apply_rules([rule(PII(), "noop")], "Ask ann@mail.org", {}).verdict["failures"]
    assert failures == [
        {
            "validator": "pii",
            "message": "the text contains an e-mail address",
            "on_fail": "noop",
            "spans": [{"what": "email", "start": 4, "end": 16}],
        }
    ]


# -- what is let out of an unfinished answer ----------------------------------------------------------------------


def test_finished_sentences_are_released_with_their_fixes() -> None:
    rules = [rule(NotEmpty(), "refrain"), rule(PII(), "fix"), rule(TOPICS, "noop")]
    assert releasable_text(rules, "Ask ann@ma", {}) == ""
    assert releasable_text(rules, "Ask ann@mail.org. ", {}) == ""
    assert releasable_text(rules, "Ask ann@mail.org. Weapons", {}) == "Ask [EMAIL]."
    assert releasable_text(rules, "Ask ann@mail.org. Weapons! And", {}) == "Ask [EMAIL]. Weapons!"


@pytest.mark.parametrize(
    "whole",
    [
        rule(ValidJson(), "fix"),
        rule(ValidJson(), "reask"),
        rule(Length(most=100), "fix"),
        rule(TOPICS, "refrain"),
        rule(TOPICS, "exception"),
        rule(TOPICS, "reask"),
    ],
)
def test_what_may_still_be_blocked_is_held_back(whole: GuardrailRule) -> None:
    assert releasable_text([rule(PII(), "fix"), whole], "One. Two. Three", {}) == ""


def test_a_least_length_is_settled_once_it_is_reached() -> None:
    rules = [rule(Length(least=8), "refrain")]
    assert releasable_text(rules, "One. Two. Thr", {}) == "One. Two."
    assert releasable_text(rules, "One. Two", {}) == ""


def test_passed_sentences_may_be_released_on_request() -> None:
    rules = [rule(TOPICS, "refrain"), rule(PII(), "fix")]
    assert releasable_text(rules, "One. Two. Weapons! Four. Fi", {}, passed=True) == "One. Two."
    assert releasable_text([rule(TOPICS, "reask")], "One. Two. Three", {}, passed=True) == ""


TEXTS = st.lists(
    st.sampled_from(
        [
            *("Standard covers care", "elephants roam freely", "ann@mail.org", "Ask bob.Lee@x.org", "weapons"),
            *(
                "you idiot",
                ". ",
                "! ",
                ".\n",
                "\n\n",
                " ",
                ".) ",
                '." ',
                "? ",
                ".",
                "e.g. ",
                "4111 1111 1111 1111",
                "  ",
            ),
        ]
    ),
    max_size=14,
).map("".join)
RULES = st.lists(
    st.sampled_from(
        [
            rule(validator, on_fail)
            for validator in (PII(), Supported(), Toxicity(), TOPICS, NotEmpty(), Length(least=6))
            for on_fail in ("fix", "refrain", "noop", "exception", "reask")
        ]
    ),
    max_size=4,
)


@settings(max_examples=400, deadline=None)
@given(rules=RULES, text=TEXTS)
def test_nothing_is_released_that_the_verdict_would_block_or_change(rules: list[GuardrailRule], text: str) -> None:
    try:
        outcome = apply_rules(rules, text, FACTS).outcome("Refused.")
        final = "" if outcome.ends or outcome.retry else outcome.value
    except GuardrailError:
        final = ""
    shown = ""
    for end in range(len(text) + 1):
        now = releasable_text(rules, text[:end], FACTS)
        assert now.startswith(shown), "what was shown stays"
        assert final.startswith(now)
        shown = now


@given(text=TEXTS)
def test_sentences_add_up_to_the_text(text: str) -> None:
    assert "".join(sentence_parts(text)) == text


@given(text=TEXTS, more=TEXTS)
def test_the_cuts_of_a_text_stay_when_it_goes_on(text: str, more: str) -> None:
    finished = sentence_parts(text)[:-1]
    assert sentence_parts(text + more)[: len(finished)] == finished
