"""Cache policies: which questions count as the same. What is kept, and where, is the store's business."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from .fingerprint import address
from .record import Slot
from .stage import Part, Stage


class Cache(Part):
    """How the runner looks answers up. `exact` counts two questions as the same when their texts are equal.

    Attributes:
        mode: `none` keeps and looks up nothing, `exact` compares texts, `normalized` ignores letter case, white
            space and Unicode form of the question (never punctuation, which changes meaning).
        refresh: compute everything again, and keep the new answers.
    """

    mode: Literal["none", "exact", "normalized"] = "exact"
    refresh: bool = False

    @property
    def enabled(self) -> bool:
        return self.mode != "none"

    def addresses(self, stage: Stage, slots: dict[str, Slot]) -> dict[str, str]:
        """Slot to address, for the slots that a stage reads and that are there."""
        found = {name: slots[name].address for name in stage.reads if name in slots}
        if self.mode == "normalized" and "question" in found and slots["question"].loaded:
            found["question"] = address(normalize(str(slots["question"].value)))
        return found


_SPACE = re.compile(r"\s+")
_TELLING = ("<super>", "<sub>", "<fraction>")
"""Characters that NFKC would turn into others that mean something else: 10² into 102, 1½ into 11/2."""


def normalize(question: str) -> str:
    """The question without what never changes its meaning: Unicode form (NFKC), letter case, white space."""
    if not question.isascii():
        question = "".join(map(_plain, unicodedata.normalize("NFC", question)))
    return _SPACE.sub(" ", question).strip().lower()


def _plain(character: str) -> str:
    if unicodedata.decomposition(character).startswith(_TELLING):
        return character
    return unicodedata.normalize("NFKC", character)
