"""`cache=normalized`: questions are compared without letter case, white space and Unicode form."""

from __future__ import annotations

import re
import unicodedata
from typing import ClassVar

from llmops_flows.core.cache_policy import CachePolicy
from llmops_flows.core.fingerprint import address
from llmops_flows.core.record import Slot
from llmops_flows.core.stage import Stage

_SPACE = re.compile(r"\s+")
_MEANINGFUL_FORMS = ("<super>", "<sub>", "<fraction>")
"""Forms that NFKC would turn into something with another meaning: 10² into 102, 1½ into 11/2."""


class NormalizedCache(CachePolicy):
    """Compares questions without letter case, white space and Unicode form. Punctuation counts."""

    reads_question: ClassVar[bool] = True

    def addresses(self, stage: Stage, slots: dict[str, Slot]) -> dict[str, str]:
        addresses = super().addresses(stage, slots)
        if "question" in addresses and slots["question"].loaded:
            addresses["question"] = address(normalize(str(slots["question"].value)))
        return addresses


def normalize(question: str) -> str:
    """The question in NFKC, in lower case, with single spaces."""
    if not question.isascii():
        question = "".join(map(_normalize_character, unicodedata.normalize("NFC", question)))
    return _SPACE.sub(" ", question).strip().lower()


def _normalize_character(character: str) -> str:
    if unicodedata.decomposition(character).startswith(_MEANINGFUL_FORMS):
        return character
    return unicodedata.normalize("NFKC", character)
