"""The order in which the stages of flows execute, for one run or for several together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from llmops_flows.calls.event_loop import first_error
from llmops_flows.core.flow import Composite, Fallback, Parallel
from llmops_flows.core.record import Record, Slot
from llmops_flows.core.stage import Part, Stage

from .run import Run
from .stage_executor import StageExecutor

REASKS = 2
"""How many retries a guardrail may request before the answer counts as blocked."""


class Schedule:
    """Executes runs stage by stage. A stage that several runs share executes once, for the records of all of them."""

    def __init__(self, executor: StageExecutor, runs: Sequence[Run]) -> None:
        self.executor = executor
        self.runs = runs

    async def run(self) -> None:
        """Execute the flow of every run, then its evaluators."""
        for runs in _by_stage_names(self.runs):
            for name in runs[0].flow.parts:
                for part, records in _shared([(run.flow.parts[name], run.records) for run in runs]):
                    await self._run_part(name, part, records, "")
                for run in runs:
                    await self._reask(run.flow, name, run.records, "")
        await self._evaluate()

    async def _run_part(self, name: str, part: Part | None, records: Sequence[Record], prefix: str) -> None:
        """Execute a stage or composite over the live records."""
        records = [record for record in records if record.live]
        inner = f"{prefix}{name}."
        if not records:
            return
        if isinstance(part, (Stage, Fallback)):
            await self.executor.run_stage(f"{prefix}{name}", part, records)
        elif isinstance(part, Parallel):
            with first_error():
                async with asyncio.TaskGroup() as tasks:
                    for inner_name, inner_part in part.parts.items():
                        tasks.create_task(self._run_part(inner_name, inner_part, records, inner))
        elif isinstance(part, Composite):
            for inner_name, inner_part in part.parts.items():
                await self._run_part(inner_name, inner_part, records, inner)
                await self._reask(part, inner_name, records, inner)

    async def _reask(self, flow: Composite, guardrail: str, records: Sequence[Record], prefix: str) -> None:
        """After a guardrail rejects an answer, add its feedback to the messages, and run again from the model on."""
        names = list(flow.parts)
        before = reversed(names[: names.index(guardrail)])
        model = next((name for name in before if _is_model(flow.parts[name])), None)
        for _ in range(REASKS):
            rejected = [record for record in records if record.feedback and record.live]
            if not rejected or model is None:
                break
            for record in rejected:
                _add_feedback(record)
            for name in names[names.index(model) : names.index(guardrail) + 1]:
                await self._run_part(name, flow.parts[name], rejected, prefix)
        for record in records:
            if record.feedback and record.refusal is not None:
                record.slots["answer"] = record.refusal
                record.feedback, record.refusal, record.ended = "", None, f"{prefix}{guardrail}"

    async def _evaluate(self) -> None:
        """Score the records that have an answer. A failing evaluator does not affect the answer."""
        self.executor.host = None  # the calls of a judge are not part of the application's trace
        requests: dict[str, list[tuple[Part, Sequence[Record]]]] = {}
        for run in self.runs:
            answered = [record for record in run.records if record.error is None]
            for name, evaluator in run.evaluators.items():
                if answered:
                    requests.setdefault(name, []).append((evaluator, answered))
        with first_error():
            async with asyncio.TaskGroup() as tasks:
                for name, parts in requests.items():
                    for part, records in _shared(parts):
                        if isinstance(part, Stage):
                            tasks.create_task(self.executor.run_stage(name, part, records, fatal=False))


def _by_stage_names(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs grouped by the names of their stages, in order of their first appearance."""
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(run.flow.parts), []).append(run)
    return list(groups.values())


def _shared(parts: Sequence[tuple[Part, Sequence[Record]]]) -> list[tuple[Part, list[Record]]]:
    """Each distinct part (operational fields included), with the records of all runs that have it."""
    groups: dict[str, list[tuple[Part, list[Record]]]] = {}
    for part, records in parts:
        candidates = groups.setdefault(part.identity, [])
        members = next((m for other, m in candidates if other is part or other == part), None)
        if members is None:
            candidates.append((part, members := []))
        members.extend(records)
    return [group for candidates in groups.values() for group in candidates]


def _is_model(part: Any) -> bool:
    return isinstance(part, Stage) and part.slot == "answer" and "messages" in part.reads


def _add_feedback(record: Record) -> None:
    feedback = [
        {"role": "assistant", "content": str(record.get("answer"))},
        {"role": "user", "content": record.feedback},
    ]
    record.slots["messages"] = Slot.of([*record.get("messages", []), *feedback])
    record.feedback = ""
