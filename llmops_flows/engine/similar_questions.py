"""Reuses the answer of an earlier, similar question if the answers of all its stages are known."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar, runtime_checkable

from llmops_flows.calls.call_context import CallContext, call_context
from llmops_flows.core.errors import FlowError
from llmops_flows.core.events import Event
from llmops_flows.core.fingerprint import digest
from llmops_flows.core.record import Record, Slot
from llmops_flows.core.store import Store

from .context import ExecutionContext
from .run import Run
from .schedule import Schedule
from .stage_executor import StageExecutor

T = TypeVar("T")


@runtime_checkable
class SimilarQuestionCache(Protocol):
    """A cache that finds earlier questions of the same meaning. Both methods block; they are called in a thread."""

    @property
    def refresh(self) -> bool: ...

    def similar(self, questions: Sequence[str], scope: str, store: Store) -> list[list[tuple[str, float]]]:
        """For each question, the similar earlier questions of the scope with their similarity, best first."""
        ...

    def remember(self, questions: Sequence[str], scope: str, store: Store) -> None:
        """Add questions to the scope; their answers are in the store."""
        ...


Questions = dict[int, tuple[str, str]]
"""`id()` of a record to its scope and its original question, which a stage may rewrite."""


async def reuse_similar(context: ExecutionContext, run: Run, executor: StageExecutor) -> Questions:
    """Answer records with the answers of similar earlier questions; the questions of the run, for `remember`.

    Only the question may differ: flow (stages, prompts, models, documents, policies), tenant and all other slots must
    be equal. If an answer of one of the stages is not known, the question is computed and stored under its own key.
    """
    cache, store = context.cache, context.store
    questions: Questions = {}
    if not isinstance(cache, SimilarQuestionCache) or store is None:
        return questions
    for scope, records in _scopes(context, run).items():
        texts = [str(record.slots["question"].value) for record in records]
        questions.update((id(record), (scope, text)) for record, text in zip(records, texts, strict=True))
        if cache.refresh:
            continue
        try:
            similar = await _in_thread(context, partial(cache.similar, texts, scope, store))
        except FlowError as error:
            context.warn("similar", f"similar questions are not looked up: {error}")
            return {}
        for record, candidates in zip(records, similar, strict=True):
            for question, similarity in candidates:
                if await _reuse(context, run, record, question, similarity):
                    _emit_spans(run, record, executor)
                    break
    return questions


async def remember(context: ExecutionContext, run: Run, questions: Questions) -> None:
    """Add the answered questions to the cache. Blocked and failed questions are left out."""
    cache, store = context.cache, context.store
    if not isinstance(cache, SimilarQuestionCache) or store is None:
        return
    scopes: dict[str, list[str]] = {}
    for record in run.records:
        if id(record) in questions and record.live and "answer" in record.slots:
            scope, question = questions[id(record)]
            scopes.setdefault(scope, []).append(question)
    for scope, answered in scopes.items():
        try:
            await _in_thread(context, partial(cache.remember, answered, scope, store))
        except FlowError as error:
            context.warn("similar", f"questions are not stored for similar ones: {error}")
            return


async def _in_thread(context: ExecutionContext, function: Callable[[], T]) -> T:
    """Run a method of the cache in a thread. The calls of its embedder use the call gate and the budget."""

    def run() -> T:
        with call_context(CallContext(context.gate, context.budget_meter)):
            return function()

    return await context.threads.start(run)


def _scope(context: ExecutionContext, run: Run, record: Record) -> str:
    """The digest of what two similar questions share: flow, tenant, sample, and all other slots that are read."""
    read = {slot for _, stage in run.flow.leaves() for slot in stage.reads}
    others = sorted((n, s.address) for n, s in record.slots.items() if n in read and n != "question")
    marks = [part for pair in others for part in pair]
    return digest("asked", run.flow.identity, context.tenant, str(record.sample), *marks)


def _scopes(context: ExecutionContext, run: Run) -> dict[str, list[Record]]:
    scopes: dict[str, list[Record]] = {}
    for record in run.records:
        if record.live and "question" in record.slots and isinstance(record.slots["question"].value, str):
            scopes.setdefault(_scope(context, run, record), []).append(record)
    return scopes


async def _reuse(context: ExecutionContext, run: Run, record: Record, question: str, similarity: float) -> bool:
    """Reuse the answer of an earlier question if the answers of all stages are known. Returns whether they are."""
    earlier = Record(record.id, {**record.slots, "question": Slot.of(question)}, record.sample)
    earlier_run = Run(run.flow, [earlier], id=run.id)
    executor = StageExecutor(context, [earlier_run], lambda event: None, known_only=True)
    await Schedule(executor, [earlier_run]).run()
    if earlier.error is not None or earlier.ended or "answer" not in earlier.slots:
        return False
    record.recalled = True
    record.slots = {**earlier.slots, "question": record.slots["question"]}
    notes = {"similar_question": question, "similarity": round(similarity, 4)}
    record.spans += [
        replace(span, state="similar", started=time.time(), notes={**span.notes, **notes}) for span in earlier.spans
    ]
    return True


def _emit_spans(run: Run, record: Record, executor: StageExecutor) -> None:
    """Emit the events of the stages whose answers were reused."""
    stages = dict(run.stages())
    for span in record.spans:
        component = stages[span.stage]
        started = {"ids": [record.id], "component": component}
        executor.emit(Event("stage_started", run.id, time.time(), span.stage, data=started))
        finished = {"spans": {record.id: span}, "component": component}
        executor.emit(Event("stage_finished", run.id, time.time(), span.stage, data=finished))
