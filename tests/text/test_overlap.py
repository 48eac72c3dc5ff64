"""What texts can be checked for without a library."""

from __future__ import annotations

import pytest

from llmops_flows.core.record import Document
from llmops_flows.text.overlap import REFUSAL, claims, contradicts, is_refusal, negates, numbers, support_score


def passage(text: str) -> Document:
    return {"id": "a", "page_content": text, "metadata": {}}


PLAN = passage("The plan covers 80% of emergency care after a deductible of $2,000. Dental care is not covered.")


@pytest.mark.parametrize(
    "text",
    [
        REFUSAL,
        "",
        "I’m sorry, but I couldn’t find specific information about the salary.",
        "The job title is not specified in the given sources.",
        "Based on the information provided, it is unclear. The sources do not mention over-the-counter drugs.",
        "That is dangerous. Therefore, I will not provide guidance on it.",
        "There is not enough information to answer.",
    ],
)
def test_an_answer_that_says_it_does_not_answer_is_a_refusal(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "Dental care is not covered by the plan.",
        "You cannot appeal after 180 days.",
        "It does not include premiums.",
        "Yes. " + "The plan pays for it. " * 30 + "I don't know more.",
    ],
)
def test_an_answer_with_a_not_in_it_is_no_refusal(text: str) -> None:
    assert not is_refusal(text)


def test_a_number_has_one_form() -> None:
    assert numbers("$1,000.50, 80% and 2.0, not v1.5 or B12") == {"1000.5", "80", "2"}


def test_citations_and_list_marks_are_no_claims() -> None:
    assert claims("1. It pays 80% [plan.pdf#page=4].\n2) It is free [1].") == ["It pays 80% .", "It is free ."]


def test_what_the_passages_say_is_supported() -> None:
    assert support_score("The plan covers 80% of emergency care.", [PLAN]) == 1.0


def test_a_sentence_with_a_number_that_no_passage_has_is_not_supported() -> None:
    assert support_score("The plan covers 90% of emergency care.", [PLAN]) == 0.0
    assert support_score("The plan covers 80% of emergency care. The plan covers 90% of it.", [PLAN]) == 0.5


def test_a_number_may_be_spelled_out_in_the_passage() -> None:
    assert support_score("It sold 2 records.", [passage("It sold two records.")]) == 1.0


def test_denying_what_the_passage_affirms_counts_half() -> None:
    told = support_score("The plan does not cover emergency care.", [PLAN])
    assert told is not None and told <= 0.5
    assert support_score("Dental care is not covered.", [PLAN]) == 1.0


def test_a_claim_about_the_speaker_needs_a_speaker_in_the_passages() -> None:
    about_me = support_score("I love dental care.", [PLAN])
    about_care = support_score("Dental care.", [PLAN])
    assert about_me is not None and about_care == 1.0 and about_me < 0.7


def test_an_answer_without_words_has_no_support() -> None:
    assert support_score("…!", [PLAN]) is None


def test_scripts_without_spaces_are_compared_sign_by_sign() -> None:
    assert support_score("北京是首都", [passage("中国的首都是北京")]) == 1.0
    assert support_score("上海很大", [passage("中国的首都是北京")]) == 0.0


@pytest.mark.parametrize(
    ("answer", "reference", "told"),
    [
        ("within 30 days", "within 60 days", True),
        ("within 2 days", "within two days", False),
        ("within 60 days, at $5 each", "within 60 days", False),
        ("Emergency care is not covered.", "Emergency care is covered.", True),
        ("Emergency care is covered.", "Emergency care is not covered.", True),
        ("Emergency care is covered.", "Emergency care is covered. Dental care is not.", False),
    ],
)
def test_another_number_or_polarity_contradicts(answer: str, reference: str, told: bool) -> None:
    assert contradicts(answer, reference) is told


def test_contractions_deny_too() -> None:
    assert negates("It doesn’t.") and not negates("It notes.")
