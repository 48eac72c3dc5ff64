"""Executes a stage over the records of one or many runs: reuses known answers, and computes equal keys once."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from llmops_flows.core.errors import FlowError, StageError
from llmops_flows.core.events import Event, Kind
from llmops_flows.core.flow import Fallback, Flow
from llmops_flows.core.record import Record, Slot, Span, State, Usage
from llmops_flows.core.stage import Call, Outcome, Stage

from .answers.answer_cache import AnswerCache, KnownAnswer
from .answers.single_flight import SingleFlight
from .context import ExecutionContext
from .execute import execute
from .fallback import Alternative, alternatives
from .run import Run
from .stage_call import StageCall, StageResult, StageTimes, Stopwatch
from .user_frame import traceback_note

Groups = dict[str, list[Record]]
"""Key to the records that need its answer."""


@dataclass(frozen=True, slots=True)
class FlowStep:
    """A stage of a flow, with its fallbacks.

    Attributes:
        chain: the stage and its fallbacks, in order.
        fatal: whether its failure fails the record. The failure of an evaluator does not.
    """

    chain: Sequence[Alternative]
    fatal: bool = True

    @property
    def name(self) -> str:
        return self.chain[0].name

    @property
    def stage(self) -> Stage:
        return self.chain[0].stage

    def cacheable(self, records: Sequence[Record]) -> bool:
        """Whether answers may be stored: those of a random stage only with a seed or a sample number."""
        return not self.stage.random or all(record.sample is not None for record in records)


class StageExecutor:
    """Executes stages. Use a new instance for each execution of runs.

    Args:
        context: what all stages share.
        runs: the runs, whose records go through the stages together.
        emit: receives the events.
        host: an object that the surrounding application passes to the stages.
        stopped: set when the caller stops waiting.
        live: whether tokens are shown to a reader as they arrive.
        known_only: compute nothing; a record whose answer is not known fails.
    """

    def __init__(
        self,
        context: ExecutionContext,
        runs: Sequence[Run],
        emit: Callable[[Event], None],
        host: Any = None,
        *,
        stopped: threading.Event | None = None,
        live: bool = False,
        known_only: bool = False,
    ) -> None:
        self.context = context
        self.emit = emit
        self.host = host
        self.answers = AnswerCache(context.store, context.cache, context.warn, tenant=context.tenant)
        self.stages = {(run.id, name): stage for run in runs for name, stage in run.stages()}
        self.stopped = stopped or threading.Event()
        self.live = live
        self.known_only = known_only
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """Signal running stages that the caller has stopped waiting, and write deferred answers."""
        self.stopped.set()
        self.answers.close()

    async def run_stage(
        self, name: str, part: Stage | Fallback, records: Sequence[Record], *, fatal: bool = True
    ) -> None:
        """Execute a stage over records: reuse known answers, and compute each remaining key once."""
        step = FlowStep(alternatives(name, part), fatal)
        runs = _by_run(records)
        for run, members in runs.items():
            self._emit_stage("stage_started", run, step, {"ids": [record.id for record in members]})
        spans_before = {record.name: len(record.spans) for record in records}
        if self.context.cache.reads_question and "question" in step.stage.reads:
            await self._load([(record, "question") for record in records if "question" in record.slots])
        groups = self._group(step, records)
        known = self.answers.look_up(list(groups)) if step.cacheable(records) else {}
        for key, answer in known.items():
            for record in groups.pop(key):
                self._take(step.name, step.stage, record, key, answer, "known")
        if self.known_only:
            for record in itertools.chain(*groups.values()):
                record.error = StageError("the answer is not known", stage=step.name)
        elif groups:
            await self._compute(step, groups)
        for run, members in runs.items():
            spans = {r.id: r.spans[-1] for r in members if len(r.spans) > spans_before[r.name]}
            self._emit_stage("stage_finished", run, step, {"spans": spans})

    def _emit_stage(self, kind: Kind, run: str, step: FlowStep, data: Mapping[str, Any]) -> None:
        self.emit(Event(kind, run, time.time(), step.name, data={**data, "component": step.stage}))

    async def read(self, records: Sequence[Record], only: Sequence[str] | None) -> None:
        """Load the scores and the slots in `only` (by default question and answer) from the store."""
        for record in records:
            names = [n for n in record.slots if n in (only or ("question", "answer")) or n.startswith("scores/")]
            await self._load([(record, name) for name in names])

    def _group(self, step: FlowStep, records: Sequence[Record]) -> Groups:
        """Group records by key. A record that lacks a slot fails; an evaluator skips it."""
        groups: Groups = {}
        for record in records:
            missing = [slot for slot, required in step.stage.reads.items() if required and slot not in record.slots]
            if missing:
                self._skip(step, record, missing)
                continue
            addresses = self.context.cache.addresses(step.stage, record.slots)
            key = step.stage.key(addresses, tenant=self.context.tenant, sample=record.sample)
            if step.stage.random and record.sample is None:
                key = f"{key}#{record.run}/{record.id}"
            groups.setdefault(key, []).append(record)
        return groups

    def _skip(self, step: FlowStep, record: Record, missing: list[str]) -> None:
        slots = ", ".join(repr(slot) for slot in missing)
        if step.fatal:
            record.error = StageError(
                f"the record has no {slots}; add it, or a stage that writes it before", stage=step.name
            )
        error = str(record.error) if step.fatal else ""
        record.spans.append(Span(step.name, "failed" if step.fatal else "skipped", time.time(), error=error))

    async def _compute(self, step: FlowStep, groups: Groups) -> None:
        cacheable = step.cacheable(list(itertools.chain(*groups.values())))
        progress = self._progress(step, groups)
        # Answers that arrive together are written in one transaction.
        deferred = step.stage.inline or (type(step.stage).run_many is not None and len(groups) > 1)

        def finish(result: StageResult) -> None:
            self._finish(step, groups[result.call.key], result, cacheable=cacheable, deferred=deferred)
            if result.error is not None:
                flight.fail(result.call.key, result.error)
            next(progress)

        async with SingleFlight(self.answers, list(groups), shared=cacheable and not step.stage.inline) as flight:
            while flight.pending:
                if flight.leased:
                    calls = await self._calls(step, {key: groups[key] for key in flight.leased})
                    await execute(step.chain, calls, self.context, finish)
                for key, result in await flight.results_of_others():
                    next(progress)
                    for record in groups[key]:
                        if isinstance(result, KnownAnswer):
                            self._take(step.name, step.stage, record, key, result, "shared")
                        else:
                            self._fail(step, record, result, StageTimes(time.time(), 0.0), key)

    def _progress(self, step: FlowStep, groups: Groups) -> Iterator[None]:
        """Each step emits that one more of the distinct answers is known."""
        run, total = next(iter(groups.values()))[0].run, len(groups)
        for done in itertools.count(1):
            self.emit(Event("stage_progress", run, time.time(), step.name, data={"done": done, "of": total}))
            yield

    async def _calls(self, step: FlowStep, groups: Groups) -> list[StageCall]:
        """A call for each key, with the inputs of the first record that needs it."""
        reads = {slot for alternative in step.chain for slot in alternative.stage.reads}
        leaders = {key: records[0] for key, records in groups.items()}
        await self._load([(r, slot) for r in leaders.values() for slot in reads if slot in r.slots])
        return [self._call(step.name, key, r, [s for s in reads if s in r.slots]) for key, r in leaders.items()]

    def _call(self, name: str, key: str, record: Record, slots: Sequence[str]) -> StageCall:
        stopwatch = Stopwatch()

        def token(text: str) -> None:
            stopwatch.token()
            event = Event("token", record.run, time.time(), name, record.id, data={"text": text})
            self._loop.call_soon_threadsafe(self.emit, event)

        call = Call(
            name, record.id, token, self.stopped.is_set, record.sample, self.context.vectors, self.context.home, None,
            self.host, partial(self._call_stage, name, record),
        )  # fmt: skip
        return StageCall(key, {slot: record.slots[slot].value for slot in slots}, call, stopwatch, self.live)

    async def _load(self, slots: Sequence[tuple[Record, str]]) -> None:
        """Load values of which only the address is known. A value that the store has lost is computed again."""
        absent = [(record, name) for record, name in slots if not record.slots[name].loaded]
        if not absent:
            return
        data = self.answers.values([record.slots[name].address for record, name in absent])
        for record, name in absent:
            slot = record.slots[name]
            if slot.address in data:
                slot.fill(data[slot.address])
            else:
                await self._compute_again(record, slot)

    async def _compute_again(self, record: Record, lost: Slot) -> None:
        """Compute an answer whose address is known but whose bytes are lost, for one record.

        The stage reads the values that it read before, even if a later stage has overwritten the slots.
        """
        step = FlowStep(alternatives(lost.stage, self.stages[record.run, lost.stage]))
        span = next(s for s in reversed(record.spans) if s.stage == lost.stage and s.address == lost.address)
        current = dict(record.slots)
        record.slots.update(zip(span.reads, span.held, strict=False))
        calls = await self._calls(step, self._group(step, [record]))

        def finish(result: StageResult) -> None:
            record.spans[:] = [other for other in record.spans if other is not span]
            self._finish(step, [record], result, cacheable=step.cacheable([record]))

        await execute(step.chain, calls, self.context, finish)
        if record.error is not None:
            raise record.error
        record.slots = {**current, **{n: slot for n, slot in record.slots.items() if slot.stage == lost.stage}}

    async def _call_stage(self, name: str, record: Record, stage: Stage, inputs: Mapping[str, Any]) -> Outcome:
        """The outcome of a stage that the stage `name` calls, such as the model of a judge or an agent.

        The call uses the cache and the call gate, and emits no events. The usage of the outcome is its cost, and is
        empty if the answer was known; the caller adds it to its own usage. Raises the error of the stage.
        """
        nested = Record.of(record.id, inputs, sample=record.sample)
        run = Run(Flow(stages={name: stage}, inputs=tuple(inputs)), [nested], id=record.run)
        executor = type(self)(self.context, [run], lambda event: None, self.host, stopped=self.stopped)
        try:
            await executor.run_stage(name, stage, [nested])
            if nested.error is not None:
                raise nested.error
            slot = "answer" if nested.ended else stage.slot
            await executor.read([nested], [slot, f"{slot}/{name}"])
        finally:
            executor.answers.close()
        answer = nested.slots.get(f"{slot}/{name}" if stage.gathered and not nested.ended else slot)
        if answer is None:
            raise StageError(f"{type(stage).__name__} returned no answer", stage=name)
        span = nested.spans[-1]
        usage = span.usage if span.state == "computed" else Usage()
        return Outcome(answer.value, usage, span.verdict, notes=span.notes)

    def _finish(
        self, step: FlowStep, records: Sequence[Record], result: StageResult, *, cacheable: bool, deferred: bool = False
    ) -> None:
        """Store a computed answer, and write it to every record that needs it."""
        key, times = result.call.key, result.times
        error = result.error
        if result.outcome is not None:
            try:
                answer = self.answers.add(
                    key, result.outcome, times.seconds, cacheable=cacheable, deferred=deferred, stage=result.stage
                )
            except (TypeError, ValueError) as cause:
                error = StageError(f"the answer is not plain data: {cause}", stage=step.name)
        if error is not None:
            for record in records:
                self._fail(step, record, error, times, key)
            return
        stage = next(a.stage for a in step.chain if a.name == result.stage)
        for position, record in enumerate(records):
            shared_times = replace(times, loading=0.0) if position else times
            self._take(result.stage, stage, record, key, answer, "shared" if position else "computed", shared_times)

    def _take(
        self,
        name: str,
        stage: Stage,
        record: Record,
        key: str,
        answer: KnownAnswer,
        state: State,
        times: StageTimes | None = None,
    ) -> None:
        """Write an answer to a record."""
        read = _read(stage, record)
        slot, written = "answer" if answer.ends else stage.slot, answer.slot(name)
        same = next((s for s in read.values() if s.address == answer.address and s.loaded), None)
        if same is not None and not written.loaded:
            written.fill(same.data)  # the stage returned what it read
        record.feedback, record.refusal = answer.retry, written if answer.retry else None
        if not answer.retry:
            record.slots[f"{slot}/{name}" if stage.gathered else slot] = written
        if answer.ends:
            record.ended = name
        times = times or StageTimes(time.time(), 0.0)
        record.spans.append(
            Span(
                name, state, times.started, times.seconds, key, answer.address,
                {n: s.address for n, s in read.items()}, answer.usage, answer.verdict, answer.notes,
                "", times.first_token, (*read.values(), written), answer.seconds, times.loading,
            )
        )  # fmt: skip

    def _fail(self, step: FlowStep, record: Record, error: FlowError, times: StageTimes, key: str) -> None:
        if step.fatal:
            record.error = error
        read = _read(step.stage, record)
        record.spans.append(
            Span(
                step.name, "failed", times.started, times.seconds, key, reads={n: s.address for n, s in read.items()},
                notes=traceback_note(error), error=str(error), held=tuple(read.values()), loading=times.loading,
            )
        )  # fmt: skip


def _read(stage: Stage, record: Record) -> dict[str, Slot]:
    return {slot: record.slots[slot] for slot in stage.reads if slot in record.slots}


def _by_run(records: Sequence[Record]) -> Groups:
    """Run id to its records; ids of records are unique within a run only."""
    runs: Groups = {}
    for record in records:
        runs.setdefault(record.run, []).append(record)
    return runs
