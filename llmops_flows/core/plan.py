"""What a set of runs would compute, found out without computing: every key is looked up, none is answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .keep import Known
from .lane import Lane
from .record import Record, Span
from .stage import Stage
from .walk import Walk
from .work import Work

if TYPE_CHECKING:
    from .runner import Runner


@dataclass(slots=True)
class Count:
    """Of one stage: which distinct answers are known, and what that took; which have to be computed, and by what.

    Attributes:
        known: key to the stage with the span that tells of its answer. new: key to the stage that would answer.
        asked: how many records ask.
    """

    known: dict[str, tuple[Stage, Span]] = field(default_factory=dict)
    new: dict[str, Stage] = field(default_factory=dict)
    asked: int = 0

    def add(self, other: Count) -> None:
        """Count what other runs would do, too."""
        self.known |= other.known
        self.new |= other.new
        self.asked += other.asked


class _Promises(Work):
    """A stage that would have to be run gives a promise: an address that is made of its key."""

    async def _compute(self, name: str, stage: Stage, groups: dict[str, list[Record]], fatal: bool) -> None:
        for key, records in groups.items():
            for record in records:
                self._take(name, stage, record, key, Known(f"?{key}"), "computed")

    async def _fill(self, wanted: Sequence[tuple[Record, str]]) -> None:
        await super()._fill([(record, name) for record, name in wanted if record.slots[name].address[0] != "?"])


async def plan(runner: Runner, lanes: Sequence[Lane]) -> dict[str, Count]:
    """Stage to what it would do. What is computed is this or less: less only where different inputs turn out equal.

    The lanes' records are used up. A guardrail that blocks, or asks again, is not foreseen.
    """
    work = _Promises(runner, lanes, lambda event: None)
    await Walk(work, lanes).through()
    found: dict[str, Count] = {}
    for record in (record for lane in lanes for record in lane.records):
        for span in record.spans:
            count = found.setdefault(span.stage, Count())
            count.asked += 1
            if span.state == "known":
                count.known[span.key] = (work.stages[record.run, span.stage], span)
            elif span.state == "computed":
                count.new[span.key] = work.stages[record.run, span.stage]
    return found
