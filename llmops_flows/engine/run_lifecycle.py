"""Executes runs together, from their first event to their last."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from llmops_flows.core.events import Event

from .context import ExecutionContext
from .run import Run
from .schedule import Schedule
from .similar_questions import remember, reuse_similar
from .stage_executor import StageExecutor


async def execute_runs(
    context: ExecutionContext,
    runs: Sequence[Run],
    emit: Callable[[Event], None],
    *,
    host: Any = None,
    only: Sequence[str] | None = None,
    live: bool = False,
) -> None:
    """Execute runs. An answer that several of them need is computed once.

    Args:
        context: what all stages share.
        runs: the runs, whose records are filled in.
        emit: receives the events.
        host: an object that the surrounding application passes to the stages.
        only: slots whose values are loaded at the end; by default question and answer.
        live: whether tokens are shown to a reader as they arrive.
    """
    executor = StageExecutor(context, runs, emit, host, live=live)
    started = time.perf_counter()
    for run in runs:
        emit(Event("run_started", run.id, time.time(), data=_description(run, host)))
    interrupted = True
    try:
        questions = [await reuse_similar(context, run, executor) for run in runs]
        await Schedule(executor, runs).run()
        for run, own in zip(runs, questions, strict=True):
            await remember(context, run, own)
        await executor.read([record for run in runs for record in run.records], only)
        interrupted = False
    finally:
        executor.stop()
        for run in runs:
            _finish(run, emit, interrupted, time.perf_counter() - started)


def _description(run: Run, host: Any) -> dict[str, Any]:
    return {
        "flow": run.flow.name,
        "identity": run.flow.identity,
        "records": len(run.records),
        "config": run.config,
        "choices": run.choices,
        "host": host,
    }


def _finish(run: Run, emit: Callable[[Event], None], interrupted: bool, seconds: float) -> None:
    """Emit the end of every finished record, then of the run."""
    for record in run.records:
        if not interrupted or record.error is not None or record.ended or "answer" in record.slots:
            emit(Event("record_finished", run.id, time.time(), record_id=record.id, record=record))
    data = {"seconds": seconds, "interrupted": interrupted}
    emit(Event("run_finished", run.id, time.time(), data=data))
