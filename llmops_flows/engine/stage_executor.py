"""One stage over the records of one or many runs: known answers are taken, equal ones computed once and kept."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from llmops_flows.calls.retry import Allowance
from llmops_flows.core.errors import FlowError, StageError
from llmops_flows.core.events import Event
from llmops_flows.core.flow import Flow
from llmops_flows.core.record import Record, Slot, Span, State, Usage
from llmops_flows.core.stage import Call, Outcome, Stage

from .answer_cache import AnswerCache, KnownAnswer
from .context import ExecutionContext
from .execute import execute, fallback
from .run import Run
from .single_flight import SingleFlight
from .stage_call import StageCall, StageResult, StageTimes, Stopwatch
from .user_frame import traceback_note


class StageExecutor:
    """What a walk does at each stage. Made by the runner; lives as long as its runs.

    Args:
        context: what the stages execute with.
        lanes: the runs, whose records meet the stages together.
        emit: takes the events, each of one run.
        host: what the surrounding application wants handed to the stages.
        stopped: set when nobody waits any more.
        live: whether somebody watches the tokens.
        known_only: compute nothing; a record with an answer that is not known fails.
    """

    def __init__(
        self,
        context: ExecutionContext,
        lanes: Sequence[Run],
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
        self.keeper = AnswerCache(context.store, context.cache, context.warn, tenant=context.tenant)
        self.stages = {(lane.id, name): stage for lane in lanes for name, stage in lane.stages()}
        self.stopped = stopped or threading.Event()
        self.live = live
        self.known_only = known_only
        self.allowances: dict[tuple[str, str], Allowance] = {}
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """Nobody waits any more: tell the stages that are at work, and write down what was put off."""
        self.stopped.set()
        self.keeper.close()

    async def stage(self, name: str, stage: Stage, records: Sequence[Record], *, fatal: bool = True) -> None:
        """Run one stage over records: known answers are taken, equal ones computed once."""
        runs = by_run(records)
        for run, mine in runs.items():
            data: dict[str, Any] = {"ids": [record.id for record in mine], "component": stage}
            self.emit(Event("stage_started", run, time.time(), name, data=data))
        marks = {run: [len(record.spans) for record in mine] for run, mine in runs.items()}
        if self.context.cache.reads_question and "question" in stage.reads:
            await self._fill([(record, "question") for record in records if "question" in record.slots])
        groups = self._group(name, stage, records, fatal)
        known = self.keeper.look_up(list(groups)) if _kept(stage, records) else {}
        for key, found in known.items():
            for record in groups.pop(key):
                self._take(name, stage, record, key, found, "known")
        if groups and self.known_only:
            for record in (record for records in groups.values() for record in records):
                record.error = StageError("this is not known", stage=name)
        elif groups:
            await self._compute(name, stage, groups, fatal)
        for run, mine in runs.items():
            spans = {r.id: r.spans[-1] for r, mark in zip(mine, marks[run], strict=True) if len(r.spans) > mark}
            data = {"spans": spans, "component": stage}
            self.emit(Event("stage_finished", run, time.time(), name, data=data))

    async def read(self, records: Sequence[Record], only: Sequence[str] | None) -> None:
        """Read the values that the caller wants from the store; by default question, answer, scores."""
        for record in records:
            wanted = [n for n in record.slots if n in (only or ("question", "answer")) or n.startswith("scores/")]
            await self._fill([(record, name) for name in wanted])

    def _group(self, name: str, stage: Stage, records: Sequence[Record], fatal: bool) -> dict[str, list[Record]]:
        """Key to the records that need its answer. A record that lacks a slot fails, or is skipped by evaluators."""
        groups: dict[str, list[Record]] = {}
        for record in records:
            missing = [slot for slot, required in stage.reads.items() if required and slot not in record.slots]
            if missing:
                self._lacks(name, record, missing, fatal)
                continue
            addresses = self.context.cache.addresses(stage, record.slots)
            key = stage.key(addresses, tenant=self.context.tenant, sample=record.sample)
            if stage.random and record.sample is None:
                key = f"{key}#{record.run}/{record.id}"
            groups.setdefault(key, []).append(record)
        return groups

    def _lacks(self, name: str, record: Record, missing: list[str], fatal: bool) -> None:
        slots = ", ".join(repr(slot) for slot in missing)
        if fatal:
            record.error = StageError(f"the record has no {slots}; give it, or put a stage before", stage=name)
        error = str(record.error) if fatal else ""
        record.spans.append(Span(name, "failed" if fatal else "skipped", time.time(), error=error))

    async def _compute(self, name: str, stage: Stage, groups: dict[str, list[Record]], fatal: bool) -> None:
        kept = _kept(stage, [r for records in groups.values() for r in records])
        progress = self._progress(name, groups)

        # What comes in one piece is written in one piece.
        together = stage.inline or (type(stage).run_many is not None and len(groups) > 1)

        def landed(done: StageResult) -> None:
            self._finish(name, stage, groups[done.job.key], done, kept, fatal, put_off=together)
            flight.landed(done.job.key, done.error)
            next(progress)

        async with SingleFlight(self.keeper, list(groups), alone=not kept or stage.inline) as flight:
            while flight.open:
                if flight.mine:
                    jobs = await self._jobs(name, stage, {key: groups[key] for key in flight.mine})
                    await execute(stage, jobs, self.context, landed)
                for key, found in await flight.others():
                    next(progress)
                    for record in groups[key]:
                        if isinstance(found, KnownAnswer):
                            self._take(name, stage, record, key, found, "shared")
                        else:
                            self._fail(name, record, found, fatal, StageTimes(time.time(), 0.0), key)

    def _progress(self, name: str, groups: Mapping[str, Sequence[Record]]) -> Iterator[None]:
        """Tell each time that one more of the distinct answers is there."""
        run, of = next(iter(groups.values()))[0].run, len(groups)
        for done in itertools.count(1):
            self.emit(Event("stage_progress", run, time.time(), name, data={"done": done, "of": of}))
            yield

    async def _jobs(self, name: str, stage: Stage, groups: Mapping[str, Sequence[Record]]) -> list[StageCall]:
        reads, other = set(stage.reads), fallback(stage)
        while other is not None:
            reads, other = reads | set(other.reads), fallback(other)
        leaders = {key: records[0] for key, records in groups.items()}
        await self._fill([(r, slot) for r in leaders.values() for slot in reads if slot in r.slots])
        return [self._job(name, key, r, [slot for slot in reads if slot in r.slots]) for key, r in leaders.items()]

    def _job(self, name: str, key: str, record: Record, slots: Sequence[str]) -> StageCall:
        watch, inputs = Stopwatch(), {slot: record.slots[slot].value for slot in slots}
        allowance = self.allowances.get(record.name)
        return StageCall(key, inputs, self._call(name, record, watch), watch, allowance, self.live)

    async def _fill(self, wanted: Sequence[tuple[Record, str]]) -> None:
        """Read values that are known by address only. One that the store lost is computed again."""
        absent = [(r, n) for r, n in wanted if not r.slots[n].loaded]
        if not absent:
            return
        data = self.keeper.values([r.slots[n].address for r, n in absent])
        for record, name in absent:
            slot = record.slots[name]
            if slot.address in data:
                slot.fill(data[slot.address])
            else:
                await self._again(record, slot)

    async def _again(self, record: Record, lost: Slot) -> None:
        """Compute for one record an answer whose address is known but whose bytes were lost.

        The stage reads what it read then, also where a later stage has written the slot anew since.
        """
        name = lost.stage
        stage = self.stages[record.run, name]
        span = next(s for s in reversed(record.spans) if s.stage == name and s.address == lost.address)
        now = dict(record.slots)
        record.slots.update(zip(span.reads, span.held, strict=False))
        groups = self._group(name, stage, [record], True)
        jobs = await self._jobs(name, stage, groups)

        def landed(done: StageResult) -> None:
            record.spans[:] = [one for one in record.spans if one is not span]
            self._finish(name, stage, [record], done, _kept(stage, [record]), True)

        await execute(stage, jobs, self.context, landed)
        if record.error is not None:
            raise record.error
        record.slots = {**now, **{slot: value for slot, value in record.slots.items() if value.stage == name}}

    def _call(self, name: str, record: Record, watch: Stopwatch) -> Call:
        def token(text: str) -> None:
            watch.piece()
            event = Event("token", record.run, time.time(), name, record.id, data={"text": text})
            self._loop.call_soon_threadsafe(self.emit, event)

        return Call(
            name, record.id, token, self.stopped.is_set, record.sample, self.context.vectors, self.context.home, None,
            self.host, partial(self._call_stage, name, record),
        )  # fmt: skip

    async def _call_stage(self, name: str, record: Record, stage: Stage, inputs: Mapping[str, Any]) -> Outcome:
        """The outcome of a stage that the stage `name` calls itself, such as the model of a judge or an agent.

        The call is looked up, gated and kept like any stage; no event reports it. What it cost is in the outcome's
        usage (nothing, if the answer was known), which the caller adds to its own. Raises the error of the stage.
        """
        nested = Record.of(record.id, inputs, sample=record.sample)
        run = Run(Flow(stages={name: stage}, inputs=tuple(inputs)), [nested], id=record.run)
        executor = type(self)(self.context, [run], lambda event: None, self.host, stopped=self.stopped)
        try:
            await executor.stage(name, stage, [nested])
            if nested.error is not None:
                raise nested.error
            slot = "answer" if nested.ended else stage.slot
            await executor.read([nested], [slot, f"{slot}/{name}"])
        finally:
            executor.keeper.close()
        answer = nested.slots.get(f"{slot}/{name}" if stage.gathered and not nested.ended else slot)
        if answer is None:
            raise StageError(f"{type(stage).__name__} returned no answer", stage=name)
        span = nested.spans[-1]
        usage = span.usage if span.state == "computed" else Usage()
        return Outcome(answer.value, usage, span.verdict, notes=span.notes)

    def _finish(
        self,
        name: str,
        stage: Stage,
        records: Sequence[Record],
        done: StageResult,
        kept: bool,
        fatal: bool,
        *,
        put_off: bool = False,
    ) -> None:
        """Keep a computed answer, and hand it to every record that waits for it."""
        if done.outcome is None:
            error = done.error or StageError("no answer", stage=name)
            for record in records:
                self._fail(name, record, error, fatal, done.times, done.job.key)
            return
        try:
            found = self.keeper.keep(done.job.key, done.outcome, done.times.seconds, kept, put_off=put_off, stage=name)
        except (TypeError, ValueError) as error:
            told = StageError(f"the answer is not plain data: {error}", stage=name)
            for record in records:
                self._fail(name, record, told, fatal, done.times, done.job.key)
            return
        for position, record in enumerate(records):
            times = replace(done.times, loading=0.0) if position else done.times
            self._take(name, stage, record, done.job.key, found, "shared" if position else "computed", times)

    def _take(
        self,
        name: str,
        stage: Stage,
        record: Record,
        key: str,
        found: KnownAnswer,
        state: State,
        times: StageTimes | None = None,
    ) -> None:
        read = _read(stage, record)
        slot, written = "answer" if found.ends else stage.slot, found.slot(name)
        same = next((s for s in read.values() if s.address == found.address and s.loaded), None)
        if same is not None and not written.loaded:
            written.fill(same.data)  # it let pass what it read
        record.feedback, record.instead = found.retry, written if found.retry else None
        if not found.retry:
            record.slots[f"{slot}/{name}" if stage.gathered else slot] = written
        if found.ends:
            record.ended = name
        times = times or StageTimes(time.time(), 0.0)
        record.spans.append(
            Span(
                name, state, times.started, times.seconds, key, found.address,
                {n: s.address for n, s in read.items()}, found.usage, found.verdict, found.notes,
                "", times.first_token, (*read.values(), written), found.seconds, times.loading,
            )
        )  # fmt: skip

    def _fail(self, name: str, record: Record, error: FlowError, fatal: bool, times: StageTimes, key: str) -> None:
        if fatal:
            record.error = error
        read = _read(self.stages[record.run, name], record)
        record.spans.append(
            Span(
                name, "failed", times.started, times.seconds, key, reads={n: s.address for n, s in read.items()},
                notes=traceback_note(error), error=str(error), held=tuple(read.values()), loading=times.loading,
            )
        )  # fmt: skip


def _read(stage: Stage, record: Record) -> dict[str, Slot]:
    return {slot: record.slots[slot] for slot in stage.reads if slot in record.slots}


def _kept(stage: Stage, records: Sequence[Record]) -> bool:
    """Whether answers of this stage may be kept: random ones only under a seed or a sample number."""
    return not stage.random or all(record.sample is not None for record in records)


def by_run(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Run to its records; ids are unique within a run only."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.run, []).append(record)
    return found
