"""What a set of runs would compute, found out without computing: every key is looked up, none is answered."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field

from llmops_flows.core.record import Record, Span
from llmops_flows.core.stage import Stage

from .answer_cache import KnownAnswer
from .context import ExecutionContext
from .run import Run
from .schedule import Schedule
from .stage_executor import StageExecutor


@dataclass(slots=True)
class StagePlan:
    """Of one stage: which distinct answers are known, and what that took; which have to be computed, and by what.

    Attributes:
        known: key to the stage with the span that tells of its answer. new: key to the stage that would answer.
        records: how many records need the stage.
    """

    known: dict[str, tuple[Stage, Span]] = field(default_factory=dict)
    new: dict[str, Stage] = field(default_factory=dict)
    records: int = 0

    def add(self, other: StagePlan, place: str = "") -> None:
        """Count what other runs would do, too. `place`: where they keep answers; only there equal ones are one."""
        self.known |= {f"{place}{key}": found for key, found in other.known.items()}
        self.new |= {f"{place}{key}": stage for key, stage in other.new.items()}
        self.records += other.records


class _Promises(StageExecutor):
    """A stage that would have to be run gives a promise: an address that is made of its key."""

    async def _compute(self, name: str, stage: Stage, groups: dict[str, list[Record]], fatal: bool) -> None:
        for key, records in groups.items():
            for record in records:
                self._take(name, stage, record, key, KnownAnswer(f"?{key}"), "computed")

    async def _fill(self, wanted: Sequence[tuple[Record, str]]) -> None:
        await super()._fill([(record, name) for record, name in wanted if record.slots[name].address[0] != "?"])


async def plan(context: ExecutionContext, lanes: Sequence[Run]) -> dict[str, StagePlan]:
    """Stage to what it would do. What is computed is this or less: less only where different inputs turn out equal.

    The lanes' records are used up. A guardrail that blocks, or asks again, is not foreseen.
    """
    work = _Promises(context, lanes, lambda event: None)
    await Schedule(work, lanes).through()
    found: dict[str, StagePlan] = {}
    for record in (record for lane in lanes for record in lane.records):
        for span in record.spans:
            count = found.setdefault(span.stage, StagePlan())
            count.records += 1
            if span.state == "known":
                count.known[span.key] = (work.stages[record.run, span.stage], span)
            elif span.state == "computed":
                count.new[span.key] = work.stages[record.run, span.stage]
    return found


@dataclass(slots=True)
class PlanOutcome:
    """What came of what was planned for one stage: planned = computed + equal + known + unreached.

    Attributes:
        planned: answers that a plan would have said are to be computed. computed: those that were.
        equal: those that turned out to be requested by equal inputs. known: those that turned out to be known.
        unreached: those that nobody came to ask for, because a guardrail or a failure ended the way before.
    """

    planned: int = 0
    computed: int = 0
    equal: int = 0
    known: int = 0
    unreached: int = 0

    def __add__(self, other: PlanOutcome) -> PlanOutcome:
        return PlanOutcome(*map(operator.add, astuple(self), astuple(other)))


_ENDED = " ended"


class PlanCheck:
    """Compares what runs did with what a plan of them says. Takes runs that ended, as many as there are."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}

    def add(self, lanes: Sequence[Run], place: str | None = None) -> None:
        """Take the records of runs that went side by side.

        place: where they keep answers, so that others find them; None where nobody does.
        """
        self._places.setdefault(place or f"#{len(self._places)}", _Place()).add(lanes)

    @property
    def stages(self) -> dict[str, PlanOutcome]:
        """Stage to what came of its plan."""
        found: dict[str, PlanOutcome] = {}
        for place in self._places.values():
            for name, planned in place.planned.items():
                found[name] = found.get(name, PlanOutcome()) + _came(planned)
        return found


class _Place:
    """The same of the runs that find each other's answers."""

    def __init__(self) -> None:
        self.planned: dict[str, dict[str, Span | None]] = {}
        self._computed: set[str] = set()

    def add(self, lanes: Sequence[Run]) -> None:
        spans = (span for lane in lanes for record in lane.records for span in record.spans)
        self._computed.update(span.key for span in spans if span.state != "known")
        for lane in lanes if self._computed else ():
            flow, stages = dict(lane.flow.leaves()), dict(lane.stages())
            for record in lane.records:
                self._follow(record, flow, stages)

    def _follow(self, record: Record, flow: Mapping[str, Stage], stages: Mapping[str, Stage]) -> None:
        """A record once more on its way, with promises in the place of what was not known before."""
        first: dict[str, Span] = {}
        for span in record.spans:  # what a guardrail requested again, nobody can plan
            if span.key:
                first.setdefault(span.stage, span)
        promised = {name: slot.address for name, slot in record.given.items()}
        for name in [*(n for n in first if n in flow), *(n for n in flow if n not in first)]:
            if name in first or record.error is not None or promised.get(_ENDED, "?")[0] == "?":
                written = promised[stages[name].slot] = self._promise(name, stages[name], promised, record, first)
                if name == record.ended:
                    promised[_ENDED] = written
        for name in (n for n in first if n not in flow):
            self._promise(name, stages[name], promised, record, first)

    def _promise(
        self, name: str, stage: Stage, promised: Mapping[str, str], record: Record, first: Mapping[str, Span]
    ) -> str:
        """What a plan has in the place of an answer: its address where it was known, else a promise, noted down."""
        span = first.get(name)
        reads = {slot: promised[slot] for slot in stage.reads if slot in promised}
        if any(address[0] == "?" for address in reads.values()):
            key = stage.key(reads, sample=record.sample)
            if stage.random and record.sample is None:
                key = f"{key}#{record.run}/{record.id}"
        elif span is None or span.key not in self._computed:
            return span.address if span is not None else "-"
        else:
            key = span.key
        noted = self.planned.setdefault(name, {})
        if noted.get(key) is None or (span is not None and span.state == "computed"):
            noted[key] = span
        return f"?{key}"


def _came(found: Mapping[str, Span | None]) -> PlanOutcome:
    reached = [span for span in found.values() if span is not None]
    computed = {span.key for span in reached if span.state != "known"}
    known = {span.key for span in reached if span.state == "known"} - computed
    equal = len(reached) - len(computed) - len(known)
    return PlanOutcome(len(found), len(computed), equal, len(known), len(found) - len(reached))
