"""The runner: the only code that executes anything. It walks a flow stage by stage over a batch of records."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmops_flows.calls.budget_meter import BudgetMeter, spending
from llmops_flows.calls.gate import GATE, Gate
from llmops_flows.core.cache_policy import CachePolicy
from llmops_flows.core.errors import FlowError
from llmops_flows.core.events import Event, Sink
from llmops_flows.core.flow import Flow
from llmops_flows.core.record import Record
from llmops_flows.core.stage import Stage
from llmops_flows.core.store import Store

from .context import ExecutionContext
from .event_loop import BackgroundRun, run_async, run_sync
from .plan import StagePlan, plan
from .resilient_store import ResilientStore
from .run import Run
from .schedule import Schedule
from .similar_questions import recall, remember
from .stage_executor import StageExecutor
from .threads import Threads

_WORKERS = 8


class Runner:
    """Executes flows: one record or thousands, from plain or asynchronous code, by the same coroutine.

    Args:
        store: where answers are kept; None keeps nothing beyond a run.
        home: folder for built indexes and other artifacts.
        sinks: listeners to the events of every run.
        cache: which questions count as the same, and whether anything is looked up at all.
        tenant: answers are never shared between tenants.
        workers: how many blocking stages run at once; a stage that says how many it can serve has its own limit.
        gate: what stands in front of every service; by default the one of this process.
        budget_meter: what calls are paid from, where there is a budget.

    A runner may be used from many threads and many event loops at once. `close` it, or use it in a `with` block.
    """

    def __init__(
        self,
        *,
        store: Store | None = None,
        home: Path | None = None,
        sinks: Sequence[Sink] = (),
        cache: CachePolicy | None = None,
        tenant: str = "",
        workers: int = _WORKERS,
        gate: Gate | None = None,
        budget_meter: BudgetMeter | None = None,
    ) -> None:
        cache = cache or CachePolicy()
        vectors = None if store is None else ResilientStore(store, self.warn)
        self.sinks = tuple(sinks)
        self.warned: set[str] = set()
        self.context = ExecutionContext(
            cache, vectors if cache.enabled else None, vectors, home, tenant,
            gate or GATE, Threads(workers), budget_meter, self.warn,
        )  # fmt: skip

    def run(self, flow: Flow, records: Sequence[Record], **options: Any) -> list[Record]:
        """`arun` for plain code, in any thread, also where an event loop is running."""
        return run_sync(self._run(flow, records, **options))

    async def arun(self, flow: Flow, records: Sequence[Record], **options: Any) -> list[Record]:
        """Run the flow over the records, which are filled in and returned. From any event loop.

        A record that fails carries its `error`; the others go on. Cancelling keeps every answer that was finished.

        Args:
            evaluators: stages that score the records afterwards; where one fails, the answer still stands.
            run: the id of this run; by default a new one.
            config: the config of the run as plain data, for the sinks.
            sinks: further listeners, for this run only.
            host: what the surrounding application wants handed to the stages as `call.host`.
            only: slots whose values are read from the store in the end; by default question and answer.
        """
        return await run_async(self._run(flow, records, **options))

    def start(self, flow: Flow, records: Sequence[Record], **options: Any) -> BackgroundRun[list[Record]]:
        """`run` for whoever does something else meanwhile: `outcome` is a future, `stop` calls it off."""
        return BackgroundRun(self._run(flow, records, **options))

    def run_all(self, lanes: Sequence[Run], *, sinks: Sequence[Sink] = ()) -> None:
        """Many runs side by side, from plain code: what several of them need is computed once, for all together."""
        run_sync(self._walk(lanes, sinks))

    def plan(self, lanes: Sequence[Run]) -> dict[str, StagePlan]:
        """Stage to the distinct answers that `run_all` would find known, and would compute. Runs nothing."""
        return run_sync(plan(self.context, lanes))

    async def _run(
        self,
        flow: Flow,
        records: Sequence[Record],
        *,
        evaluators: Mapping[str, Stage] | None = None,
        run: str | None = None,
        config: Mapping[str, Any] | None = None,
        sinks: Sequence[Sink] = (),
        host: Any = None,
        only: Sequence[str] | None = None,
    ) -> list[Record]:
        lane = Run(flow, records, evaluators or {}, run or uuid.uuid4().hex, config or {})
        await self._walk([lane], sinks, host, only)
        return list(records)

    async def _walk(
        self, lanes: Sequence[Run], sinks: Sequence[Sink], host: Any = None, only: Sequence[str] | None = None
    ) -> None:
        emit = self._emitter((*self.sinks, *sinks))
        work = StageExecutor(self.context, lanes, emit, host, live=any(getattr(sink, "live", False) for sink in sinks))
        begun = time.perf_counter()
        for lane in lanes:
            emit(Event("run_started", lane.id, time.time(), data=_about(lane, host)))
        interrupted = True
        try:
            with spending(self.context.budget_meter):
                asked = [await recall(self.context, lane, work) for lane in lanes]
                await Schedule(work, lanes).through()
                for lane, questions in zip(lanes, asked, strict=True):
                    await remember(self.context, lane, questions)
            await work.read([record for lane in lanes for record in lane.records], only)
            interrupted = False
        finally:
            work.stop()
            for lane in lanes:
                _end(lane, emit, interrupted, time.perf_counter() - begun)

    def _emitter(self, sinks: Sequence[Sink]) -> Callable[[Event], None]:
        def emit(event: Event) -> None:
            for sink in sinks:
                try:
                    sink.on(event)
                except Exception as error:
                    self.report(sink, error)

        return emit

    def report(self, sink: Sink, error: Exception) -> None:
        """A sink's trouble is told once; it never reaches an answer."""
        name = type(sink).__name__
        cause = str(error) if isinstance(error, FlowError) else f"{type(error).__name__}: {error}"
        self.warn(name, f"{getattr(sink, 'lost', f'{name} failed and missed events')}: {cause}")

    def warn(self, topic: str, message: str) -> None:
        """Say something once per runner and topic."""
        import logging

        if topic not in self.warned:
            self.warned.add(topic)
            logging.getLogger("llmops_flows").warning(message)

    def close(self) -> None:
        """Stop the threads. The store and the sinks belong to whoever made them."""
        self.context.threads.close()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _about(lane: Run, host: Any) -> dict[str, Any]:
    return {
        "flow": lane.flow.name,
        "identity": lane.flow.identity,
        "records": len(lane.records),
        "config": lane.config,
        "choices": lane.choices,
        "host": host,
    }


def _end(lane: Run, emit: Callable[[Event], None], interrupted: bool, seconds: float) -> None:
    """Tell of every record that came to an end, then of the run."""
    for record in lane.records:
        if not interrupted or record.error is not None or record.ended or "answer" in record.slots:
            emit(Event("record_finished", lane.id, time.time(), record_id=record.id, record=record))
    data = {"seconds": seconds, "interrupted": interrupted}
    emit(Event("run_finished", lane.id, time.time(), data=data))
