"""Plans of runs: the answers that they would compute. Checks compare a plan with the answers that were computed."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field

from llmops_flows.core.record import Record, Span
from llmops_flows.core.stage import Stage

from .answers.answer_cache import KnownAnswer
from .context import ExecutionContext
from .run import Run
from .schedule import Schedule
from .stage_executor import FlowStep, Groups, StageExecutor


@dataclass(slots=True)
class StagePlan:
    """The plan of one stage: the distinct answers that are known, and those to compute.

    Attributes:
        known: key to the stage, with the span of its known answer.
        new: key to the stage that would compute its answer.
        records: how many records need the stage.
    """

    known: dict[str, tuple[Stage, Span]] = field(default_factory=dict)
    new: dict[str, Stage] = field(default_factory=dict)
    records: int = 0

    def add(self, other: StagePlan, store: str = "") -> None:
        """Add the plan of other runs. Equal answers count once per `store`, the name of their store."""
        self.known |= {f"{store}{key}": entry for key, entry in other.known.items()}
        self.new |= {f"{store}{key}": stage for key, stage in other.new.items()}
        self.records += other.records


class _PlanningExecutor(StageExecutor):
    """Writes a placeholder, which is an address made of the key, instead of computing an answer."""

    async def _compute(self, step: FlowStep, groups: Groups) -> None:
        for key, records in groups.items():
            for record in records:
                self._take(step.name, step.stage, record, key, KnownAnswer(f"?{key}"), "computed")

    async def _load(self, slots: Sequence[tuple[Record, str]]) -> None:
        await super()._load([(r, name) for r, name in slots if not _is_placeholder(r.slots[name].address)])


def _is_placeholder(address: str) -> bool:
    return address.startswith("?")


async def plan(context: ExecutionContext, runs: Sequence[Run]) -> dict[str, StagePlan]:
    """Stage to its plan. Execution computes fewer answers if inputs turn out to be equal.

    The records of the runs cannot be used afterwards. The plan assumes that no guardrail blocks or retries.
    """
    executor = _PlanningExecutor(context, runs, lambda event: None)
    await Schedule(executor, runs).run()
    plans: dict[str, StagePlan] = {}
    for record in (record for run in runs for record in run.records):
        for span in record.spans:
            stage_plan = plans.setdefault(span.stage, StagePlan())
            stage_plan.records += 1
            stage = executor.stages[record.run, span.stage]
            if span.state == "known":
                stage_plan.known[span.key] = (stage, span)
            elif span.state == "computed":
                stage_plan.new[span.key] = stage
    return plans


@dataclass(slots=True)
class PlanOutcome:
    """The comparison of one stage's plan with its execution: planned = computed + equal + known + unreached.

    Attributes:
        planned: the number of answers that the plan lists as new.
        computed: planned answers that were computed.
        equal: planned answers whose inputs were equal to those of others.
        known: planned answers that were known at the time of execution.
        unreached: planned answers that were not needed, because a guardrail or a failure ended the record.
    """

    planned: int = 0
    computed: int = 0
    equal: int = 0
    known: int = 0
    unreached: int = 0

    def __add__(self, other: PlanOutcome) -> PlanOutcome:
        return PlanOutcome(*map(operator.add, astuple(self), astuple(other)))


_ENDED = " ended"
"""Pseudo-slot with the address of the answer that ended the record early."""


class PlanCheck:
    """Compares finished runs with the plan that they would have had."""

    def __init__(self) -> None:
        self._stores: dict[str, _StorePlan] = {}

    def add(self, runs: Sequence[Run], store: str | None = None) -> None:
        """Add the records of runs that executed together.

        store: the name of the store that the runs share with others; None: no shared store.
        """
        self._stores.setdefault(store or f"#{len(self._stores)}", _StorePlan()).add(runs)

    @property
    def stages(self) -> dict[str, PlanOutcome]:
        """Stage to the outcome of its plan."""
        outcomes: dict[str, PlanOutcome] = {}
        for store in self._stores.values():
            for name, planned in store.planned.items():
                outcomes[name] = outcomes.get(name, PlanOutcome()) + _outcome(planned)
        return outcomes


class _StorePlan:
    """The plan of the runs that share a store. `planned`: stage to key to the span of its answer, if reached."""

    def __init__(self) -> None:
        self.planned: dict[str, dict[str, Span | None]] = {}
        self._computed: set[str] = set()

    def add(self, runs: Sequence[Run]) -> None:
        spans = (span for run in runs for record in run.records for span in record.spans)
        self._computed.update(span.key for span in spans if span.state != "known")
        for run in runs if self._computed else ():
            flow, stages = dict(run.flow.leaves()), dict(run.stages())
            for record in run.records:
                self._follow(record, flow, stages)

    def _follow(self, record: Record, flow: Mapping[str, Stage], stages: Mapping[str, Stage]) -> None:
        """Follow a record through its flow, with placeholders for answers that were not known before."""
        first: dict[str, Span] = {}  # without retries after a guardrail, which a plan does not contain
        for span in record.spans:
            if span.key:
                first.setdefault(span.stage, span)
        addresses = {name: slot.address for name, slot in record.given.items()}
        for name in [*(n for n in first if n in flow), *(n for n in flow if n not in first)]:
            if name in first or record.error is not None or _is_placeholder(addresses.get(_ENDED, "?")):
                written = addresses[stages[name].slot] = self._plan(name, stages[name], addresses, record, first)
                if name == record.ended:
                    addresses[_ENDED] = written
        for name in (n for n in first if n not in flow):
            self._plan(name, stages[name], addresses, record, first)

    def _plan(
        self, name: str, stage: Stage, addresses: Mapping[str, str], record: Record, first: Mapping[str, Span]
    ) -> str:
        """The address of a known answer, or a placeholder that is added to the plan."""
        span = first.get(name)
        reads = {slot: addresses[slot] for slot in stage.reads if slot in addresses}
        if any(_is_placeholder(address) for address in reads.values()):
            key = stage.key(reads, sample=record.sample)
            if stage.random and record.sample is None:
                key = f"{key}#{record.run}/{record.id}"
        elif span is None or span.key not in self._computed:
            return span.address if span is not None else "-"
        else:
            key = span.key
        planned = self.planned.setdefault(name, {})
        if planned.get(key) is None or (span is not None and span.state == "computed"):
            planned[key] = span
        return f"?{key}"


def _outcome(planned: Mapping[str, Span | None]) -> PlanOutcome:
    reached = [span for span in planned.values() if span is not None]
    computed = {span.key for span in reached if span.state != "known"}
    known = {span.key for span in reached if span.state == "known"} - computed
    equal = len(reached) - len(computed) - len(known)
    return PlanOutcome(len(planned), len(computed), equal, len(known), len(planned) - len(reached))
