"""Showing an answer while it is written: only what no guardrail can take back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llmops_flows.core.errors import StoreError
from llmops_flows.core.events import Event
from llmops_flows.core.flow import Flow
from llmops_flows.core.record import Record
from llmops_flows.core.roles import Guardrail

from .validation import sentence_parts


def answer_guardrails(flow: Flow) -> list[Guardrail]:
    """The guardrails behind the last stage that writes the answer: only what they let pass is final."""
    found: list[Guardrail] = []
    for _, stage in flow.leaves():
        if isinstance(stage, Guardrail) and stage.on == "answer":
            found.append(stage)
        elif stage.slot == "answer":
            found.clear()
    return found


class LiveAnswer:
    """A sink that hands on the tokens of one record's answer.

    Without a guardrail behind the model, tokens are shown as they come; else whenever a sentence is finished, as far
    as every guardrail releases it.

    Args:
        flow, record: whose answer is shown.
        show: takes each piece.
        read: the bytes of values by address, for what the guardrails read but nobody else of this run did.
    """

    live = True

    def __init__(
        self,
        flow: Flow,
        record: Record,
        show: Callable[[str], None],
        read: Callable[[Sequence[str]], Mapping[str, bytes]] = lambda addresses: {},
    ) -> None:
        self.guards = answer_guardrails(flow)
        self.shown = ""
        others = [name for name, stage in flow.leaves() if stage.slot == "answer" and stage not in self.guards]
        self._writer = others[-1] if others else ""
        self._record, self._show, self._read = record, show, read
        self._written = ""
        self._sentences = 0

    def on(self, event: Event) -> None:
        if event.stage != self._writer:
            return
        if event.kind == "stage_started":
            self._written, self._sentences = "", 0
        elif event.kind == "token" and event.record_id == self._record.id:
            self._take(event.data["text"])

    def close(self) -> None:
        """Nothing to release."""

    def rest(self, answer: Any) -> Any:
        """What is still to be shown of the final answer."""
        if not isinstance(answer, str):
            return "" if self.shown else answer
        if answer.startswith(self.shown):
            return answer[len(self.shown) :]
        return f"\n{answer}" if self.guards else ""

    def _take(self, text: str) -> None:
        if not self.guards:
            self._put(self.shown + text)
            return
        self._written = (self._written + text).lstrip()
        finished = len(sentence_parts(self._written))
        if finished > self._sentences:
            self._sentences = finished
            self._put(self._released())

    def _put(self, text: str) -> None:
        if text != self.shown and text.startswith(self.shown):
            piece, self.shown = text[len(self.shown) :], text
            self._show(piece)

    def _released(self) -> str:
        text = self._written
        for guard in self.guards:
            facts = self._facts(guard)
            text = guard.releases(text, facts) if facts is not None else ""
        return text

    def _facts(self, guard: Guardrail) -> dict[str, Any] | None:
        """The slots that a guardrail reads beside the answer; None when one cannot be read now."""
        slots = {n: s for n, s in self._record.slots.items() if n in guard.reads and n != guard.on}
        try:
            data = self._read([slot.address for slot in slots.values() if not slot.loaded])
        except StoreError:
            return None
        for slot in slots.values():
            if not slot.loaded and slot.address in data:
                slot.fill(data[slot.address])
        return {n: s.value for n, s in slots.items()} if all(s.loaded for s in slots.values()) else None
