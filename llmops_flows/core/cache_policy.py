"""The base of cache policies: which questions count as the same. The store decides where answers are stored."""

from __future__ import annotations

from typing import ClassVar

from .record import Slot
from .stage import Part, Stage


class CachePolicy(Part):
    """Looks answers up by the exact content of what a stage reads. Subclasses may count more questions as the same.

    Attributes:
        refresh: compute everything again and store the new answers.
    """

    enabled: ClassVar[bool] = True
    """Whether answers are looked up and stored at all."""
    reads_question: ClassVar[bool] = False
    """Whether `addresses` needs the text of the question; its address is enough otherwise."""
    refresh: bool = False

    def addresses(self, stage: Stage, slots: dict[str, Slot]) -> dict[str, str]:
        """Slot to address, for the slots that a stage reads and that the record has."""
        return {name: slots[name].address for name in stage.reads if name in slots}
