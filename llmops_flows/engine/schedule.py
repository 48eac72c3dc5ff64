"""In what order the stages of flows meet their records, one flow or many side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmops_flows.calls.retry import Allowance
from llmops_flows.core.errors import BudgetExceeded
from llmops_flows.core.flow import Composite, Fallback, Parallel
from llmops_flows.core.record import Record, Slot
from llmops_flows.core.stage import Part, Stage

from .event_loop import run_concurrently
from .run import Run
from .stage_executor import StageExecutor

REASKS = 2
"""How often a guardrail may send an answer back to the model before it counts as blocked."""


class Schedule:
    """Leads lanes through their flows, stage by stage: a stage that several lanes share runs once for all of them."""

    def __init__(self, work: StageExecutor, lanes: Sequence[Run]) -> None:
        self.work = work
        self.lanes = lanes

    async def through(self) -> None:
        """Every lane through its flow, then to its evaluators."""
        for alike in _alike(self.lanes):
            await self._side_by_side(alike)
        await self._score()

    async def _side_by_side(self, lanes: Sequence[Run]) -> None:
        """Lanes whose flows name the same stages in the same order."""
        for name in lanes[0].flow.parts:
            for part, records in _shared([(lane.flow.parts[name], lane.records) for lane in lanes]):
                await self._step(name, part, records, "")
            for lane in lanes:
                await self._ask_again(lane.flow, name, lane.records, "")

    async def _over(self, part: Composite, records: Sequence[Record], prefix: str = "") -> None:
        """Run a composite over the live ones of the records."""
        if isinstance(part, Parallel):
            await run_concurrently(*(self._step(n, p, records, prefix) for n, p in part.parts.items()))
        elif isinstance(part, Fallback):
            await self._first(part, records, prefix)
        else:
            for name, inner in part.parts.items():
                await self._step(name, inner, records, prefix)
                await self._ask_again(part, name, records, prefix)

    async def _step(self, name: str, part: Any, records: Sequence[Record], prefix: str) -> None:
        live = [record for record in records if record.live]
        if isinstance(part, Composite):
            await self._over(part, live, f"{prefix}{name}.")
        elif live:
            await self.work.stage(f"{prefix}{name}", part, live)

    async def _first(self, part: Fallback, records: Sequence[Record], prefix: str) -> None:
        """Stage by stage, the records for which every stage before failed; together they are one call."""
        waiting = [record for record in records if record.live]
        allowances = self.work.allowances
        ours = [record.name for record in waiting if record.name not in allowances]
        allowances.update((name, Allowance()) for name in ours)
        for name, inner in part.parts.items():
            for record in waiting:
                record.error = None
            await self._step(name, inner, waiting, prefix)
            # Where the budget is used up, no other model may answer in place of the one that was to be tried.
            waiting = [r for r in waiting if r.error is not None and not isinstance(r.error, BudgetExceeded)]
        for one in ours:
            allowances.pop(one, None)

    async def _ask_again(self, flow: Composite, guard: str, records: Sequence[Record], prefix: str) -> None:
        """Where a guardrail wants another answer: add its feedback to the messages, and go back to the model."""
        names = list(flow.parts)
        model = next((n for n in reversed(names[: names.index(guard)]) if _answers(flow.parts[n])), None)
        for _ in range(REASKS):
            again = [record for record in records if record.feedback and record.live]
            if not again or model is None or flow.parts[guard] is None:
                break
            for record in again:
                _add_feedback(record)
            for name in names[names.index(model) : names.index(guard) + 1]:
                await self._step(name, flow.parts[name], again, prefix)
        for record in records:
            if record.feedback and record.instead is not None:
                record.slots["answer"] = record.instead
                record.feedback, record.instead, record.ended = "", None, f"{prefix}{guard}"

    async def _score(self) -> None:
        """Score the records that have an answer. A failing evaluator leaves its scores out and the answer alone."""
        self.work.host = None  # a judge's calls are no part of the application's own trace
        wanted: dict[str, list[tuple[Part, Sequence[Record]]]] = {}
        for lane in self.lanes:
            answered = [record for record in lane.records if record.error is None]
            for name, evaluator in lane.evaluators.items():
                if answered:
                    wanted.setdefault(name, []).append((evaluator, answered))
        await run_concurrently(
            *(
                self.work.stage(name, evaluator, records, fatal=False)
                for name, asked in wanted.items()
                for evaluator, records in _shared(asked)
                if isinstance(evaluator, Stage)
            )
        )


def _alike(lanes: Sequence[Run]) -> list[list[Run]]:
    """Lanes whose flows name the same stages, together; in the order in which they came."""
    found: dict[tuple[str, ...], list[Run]] = {}
    for lane in lanes:
        found.setdefault(tuple(lane.flow.parts), []).append(lane)
    return list(found.values())


def _shared(asked: Sequence[tuple[Part, Sequence[Record]]]) -> list[tuple[Part, list[Record]]]:
    """Each part once, with the records of everybody who asks for an equal one (prices and timeouts count too)."""
    found: dict[str, list[tuple[Part, list[Record]]]] = {}
    for part, records in asked:
        alike = found.setdefault(part.identity, [])
        mine = next((theirs for other, theirs in alike if other is part or other == part), None)
        if mine is None:
            alike.append((part, mine := []))
        mine.extend(records)
    return [one for alike in found.values() for one in alike]


def _answers(part: Any) -> bool:
    return isinstance(part, Stage) and part.slot == "answer" and "messages" in part.reads


def _add_feedback(record: Record) -> None:
    said = [{"role": "assistant", "content": str(record.get("answer"))}]
    asked = [{"role": "user", "content": record.feedback}]
    record.slots["messages"] = Slot.of([*record.get("messages", []), *said, *asked])
    record.feedback = ""
