"""Questions like one that was answered before: its answer, where every stage on the way to it is known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from llmops_flows.core.errors import FlowError
from llmops_flows.core.events import Event
from llmops_flows.core.fingerprint import digest
from llmops_flows.core.record import Record, Slot
from llmops_flows.core.store import Store

from .context import ExecutionContext
from .run import Run
from .schedule import Schedule
from .stage_executor import StageExecutor


@runtime_checkable
class SimilarQuestionCache(Protocol):
    """A cache that knows earlier questions which mean the same. Both methods block; they are called in a thread."""

    @property
    def refresh(self) -> bool: ...

    def similar(self, questions: Sequence[str], scope: str, store: Store) -> list[list[tuple[str, float]]]:
        """For each question the earlier ones of the scope that mean the same, with how alike; best first."""
        ...

    def remember(self, questions: Sequence[str], scope: str, store: Store) -> None:
        """From now on these may be found in the scope; their answers are kept."""
        ...


Asked = dict[int, tuple[str, str]]
"""Identity of a record to the scope in which it was asked, and the question before any stage wrote it anew."""


async def recall(context: ExecutionContext, lane: Run, work: StageExecutor) -> Asked:
    """Answer what can be answered by an earlier question's answer; what was asked, for `remember`.

    Only the question may differ: the earlier one must have been asked of the same flow (stages, prompts, models,
    documents, policies), by the same tenant, with every other slot equal. All its stages must be known: otherwise
    the question is answered as ever, and its own answer kept under its own key.
    """
    cache, store = context.cache, context.store
    asked: Asked = {}
    if not isinstance(cache, SimilarQuestionCache) or store is None:
        return asked
    for scope, records in _scopes(context, lane).items():
        texts = [str(record.slots["question"].value) for record in records]
        asked.update((id(record), (scope, text)) for record, text in zip(records, texts, strict=True))
        if cache.refresh:
            continue
        try:
            found = await asyncio.to_thread(cache.similar, texts, scope, store)
        except FlowError as error:
            context.warn("similar", f"no similar questions are looked for: {error}")
            return {}
        for record, candidates in zip(records, found, strict=True):
            for question, score in candidates:
                if await _known(context, lane, record, question, score):
                    _tell(lane, record, work)
                    break
    return asked


async def remember(context: ExecutionContext, lane: Run, asked: Asked) -> None:
    """Let later questions find those that were answered here. Blocked and failed ones are nobody's answer."""
    cache, store = context.cache, context.store
    if not isinstance(cache, SimilarQuestionCache) or store is None:
        return
    scopes: dict[str, list[str]] = {}
    for record in lane.records:
        if id(record) in asked and record.live and "answer" in record.slots:
            scope, question = asked[id(record)]
            scopes.setdefault(scope, []).append(question)
    for scope, questions in scopes.items():
        try:
            await asyncio.to_thread(cache.remember, questions, scope, store)
        except FlowError as error:
            context.warn("similar", f"questions are not remembered: {error}")
            return


def _scope(context: ExecutionContext, lane: Run, record: Record) -> str:
    """What must be equal for two questions to be compared: flow, tenant, sample, every other slot that is read."""
    read = {slot for _, stage in lane.flow.leaves() for slot in stage.reads}
    rest = sorted((n, s.address) for n, s in record.slots.items() if n in read and n != "question")
    marks = [part for pair in rest for part in pair]
    return digest("asked", lane.flow.identity, context.tenant, str(record.sample), *marks)


def _scopes(context: ExecutionContext, lane: Run) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in lane.records:
        if record.live and "question" in record.slots and isinstance(record.slots["question"].value, str):
            found.setdefault(_scope(context, lane, record), []).append(record)
    return found


async def _known(context: ExecutionContext, lane: Run, record: Record, question: str, score: float) -> bool:
    """Take the earlier question's answer, if every stage on the way to it is known; else leave the record alone."""
    shadow = Record(record.id, {**record.slots, "question": Slot.of(question)}, record.sample)
    alone = Run(lane.flow, [shadow], id=lane.id)
    work = StageExecutor(context, [alone], lambda event: None, known_only=True)
    await Schedule(work, [alone]).through()
    if shadow.error is not None or shadow.ended or "answer" not in shadow.slots:
        return False
    record.recalled = True
    record.slots = {**shadow.slots, "question": record.slots["question"]}
    told = {"similar_question": question, "similarity": round(score, 4)}
    record.spans += [
        replace(span, state="similar", started=time.time(), notes={**span.notes, **told}) for span in shadow.spans
    ]
    return True


def _tell(lane: Run, record: Record, work: StageExecutor) -> None:
    """The events of the stages whose answers were taken."""
    stages = dict(lane.stages())
    for span in record.spans:
        component = stages[span.stage]
        told = {"ids": [record.id], "component": component}
        work.emit(Event("stage_started", lane.id, time.time(), span.stage, data=told))
        spans = {"spans": {record.id: span}, "component": component}
        work.emit(Event("stage_finished", lane.id, time.time(), span.stage, data=spans))
