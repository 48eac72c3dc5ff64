"""Calls that a stage makes itself, a judge's or an agent's: looked up, gated and kept like any stage's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .errors import StageError
from .flow import Flow
from .lane import Lane
from .record import Record, Usage
from .stage import Outcome, Stage

if TYPE_CHECKING:
    from .work import Work


async def ask(work: Work, name: str, record: Record, stage: Stage, inputs: Mapping[str, Any]) -> Outcome:
    """The answer of a stage that the stage `name` calls for a record. No event tells of it.

    What it cost is in the outcome's usage (nothing, if the answer was known): whoever asks adds it to its own.
    Raises the stage's error.
    """
    asked = Record.of(record.id, inputs, sample=record.sample)
    flow = Flow(stages={name: stage}, inputs=tuple(inputs))
    lane = Lane(flow, [asked], run=record.run)
    inner = type(work)(work.runner, [lane], lambda event: None, work.host, stopped=work.stopped)
    try:
        await inner.stage(name, stage, [asked])
        if asked.error is not None:
            raise asked.error
        slot = "answer" if asked.ended else stage.slot
        await inner.read([asked], [slot, f"{slot}/{name}"])
    finally:
        inner.keeper.close()
    found = asked.slots.get(f"{slot}/{name}" if stage.gathered and not asked.ended else slot)
    if found is None:
        raise StageError(f"{type(stage).__name__} gave no answer", stage=name)
    span = asked.spans[-1]
    usage = span.usage if span.state == "computed" else Usage()
    return Outcome(found.value, usage, span.verdict, notes=span.notes)
