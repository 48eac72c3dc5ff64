"""The runner, which executes flows from synchronous and asynchronous code."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmops_flows.calls.budget_reservation import BudgetMeter
from llmops_flows.calls.event_loop import BackgroundRun, run_async, run_sync
from llmops_flows.calls.gate import GATE, Gate
from llmops_flows.core.cache_policy import CachePolicy
from llmops_flows.core.errors import FlowError
from llmops_flows.core.events import Event, Sink
from llmops_flows.core.flow import Flow
from llmops_flows.core.record import Record
from llmops_flows.core.stage import Stage
from llmops_flows.core.store import Store

from .answers.resilient_store import ResilientStore
from .context import ExecutionContext
from .plan import StagePlan, plan
from .run import Run
from .run_lifecycle import execute_runs
from .threads import Threads

_WORKERS = 8


class Runner:
    """Executes flows over one or many records, from synchronous or asynchronous code.

    Args:
        store: where answers are stored; None: only in memory, for the run.
        home: folder for built indexes and other artifacts.
        sinks: receive the events of every run.
        cache: which questions count as equal, and whether answers are looked up at all.
        tenant: answers are never shared between tenants.
        workers: the maximum number of blocking stages that run at once. A stage with `max_concurrency` uses that limit
            instead.
        gate: the call gate of all calls to services; by default the gate of this process.
        budget_meter: the budget that calls are charged to; None: no budget.

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
        """`arun` for synchronous code, in any thread, even if an event loop is running."""
        run_sync(self._execution(flow, records, **options))
        return list(records)

    async def arun(self, flow: Flow, records: Sequence[Record], **options: Any) -> list[Record]:
        """Execute the flow over the records, which are filled in and returned. From any event loop.

        A record that fails has an `error`; the others continue. Cancelling keeps every finished answer.

        Args:
            evaluators: stages that score the records afterwards. A failing evaluator does not affect the answer.
            run: the id of this run; by default a new one.
            config: the config of the run as plain data, for the sinks.
            sinks: additional sinks for this run.
            host: an object that the stages receive as `call.host`.
            only: slots whose values are loaded at the end; by default question and answer.
        """
        await run_async(self._execution(flow, records, **options))
        return list(records)

    def start(self, flow: Flow, records: Sequence[Record], **options: Any) -> BackgroundRun[None]:
        """`run` in the background: `future` is done when the run has ended, `stop` cancels it."""
        return BackgroundRun(self._execution(flow, records, **options))

    def run_all(self, runs: Sequence[Run], *, sinks: Sequence[Sink] = ()) -> None:
        """Execute many runs together, from synchronous code. An answer that several of them need is computed once."""
        run_sync(self._execute(runs, sinks))

    def plan(self, runs: Sequence[Run]) -> dict[str, StagePlan]:
        """Stage to the distinct answers that `run_all` would reuse and compute. Executes nothing."""
        return run_sync(plan(self.context, runs))

    def _execution(
        self,
        flow: Flow,
        records: Sequence[Record],
        *,
        evaluators: Mapping[str, Stage] | None = None,
        run: str | None = None,
        config: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Coroutine[Any, Any, None]:
        return self._execute([Run(flow, records, evaluators or {}, run or uuid.uuid4().hex, config or {})], **options)

    def _execute(
        self, runs: Sequence[Run], sinks: Sequence[Sink] = (), host: Any = None, only: Sequence[str] | None = None
    ) -> Coroutine[Any, Any, None]:
        emit = self._emitter((*self.sinks, *sinks))
        live = any(getattr(sink, "live", False) for sink in sinks)
        return execute_runs(self.context, runs, emit, host=host, only=only, live=live)

    def _emitter(self, sinks: Sequence[Sink]) -> Callable[[Event], None]:
        def emit(event: Event) -> None:
            for sink in sinks:
                try:
                    sink.on(event)
                except Exception as error:
                    self.report(sink, error)

        return emit

    def report(self, sink: Sink, error: Exception) -> None:
        """Log the error of a sink once; it never affects an answer."""
        name = type(sink).__name__
        cause = str(error) if isinstance(error, FlowError) else f"{type(error).__name__}: {error}"
        self.warn(name, f"{getattr(sink, 'lost', f'{name} failed and missed events')}: {cause}")

    def warn(self, topic: str, message: str) -> None:
        """Log a warning once per runner and topic."""
        if topic not in self.warned:
            self.warned.add(topic)
            logging.getLogger("llmops_flows").warning(message)

    def close(self) -> None:
        """Stop the threads. Stores and sinks belong to the caller and stay open."""
        self.context.threads.close()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
