"""Streams the part of an answer that no guardrail can change any more."""

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
    """The guardrails after the last stage that writes the answer."""
    guardrails: list[Guardrail] = []
    for _, stage in flow.leaves():
        if isinstance(stage, Guardrail) and stage.on == "answer":
            guardrails.append(stage)
        elif stage.slot == "answer":
            guardrails.clear()
    return guardrails


class LiveAnswer:
    """A sink that shows the answer of one record while it is written.

    Without guardrails after the model, each token is shown at once. With guardrails, text is shown when a sentence is
    complete and every guardrail releases it.

    Args:
        flow, record: the flow that runs, and its record.
        show: called with each piece of text.
        read: returns the bytes of values by address, for slots that guardrails read and this run has not loaded.
    """

    live = True

    def __init__(
        self,
        flow: Flow,
        record: Record,
        show: Callable[[str], None],
        read: Callable[[Sequence[str]], Mapping[str, bytes]] = lambda addresses: {},
    ) -> None:
        self.guardrails = answer_guardrails(flow)
        self.shown = ""
        writers = [name for name, stage in flow.leaves() if stage.slot == "answer" and stage not in self.guardrails]
        self._writer = writers[-1] if writers else ""
        self._record, self._show, self._read = record, show, read
        self._written = ""
        self._sentences = 0

    def on(self, event: Event) -> None:
        if event.stage != self._writer:
            return
        if event.kind == "stage_started":
            self._written, self._sentences = "", 0
        elif event.kind == "token" and event.record_id == self._record.id:
            self._add_token(event.data["text"])

    def close(self) -> None:
        """Nothing to release."""

    def rest(self, answer: Any) -> Any:
        """The part of the final answer that is not shown yet."""
        if not isinstance(answer, str):
            return "" if self.shown else answer
        if answer.startswith(self.shown):
            return answer[len(self.shown) :]
        return f"\n{answer}" if self.guardrails else ""

    def _add_token(self, text: str) -> None:
        if not self.guardrails:
            self._show_text(self.shown + text)
            return
        self._written = (self._written + text).lstrip()
        finished = len(sentence_parts(self._written))
        if finished > self._sentences:
            self._sentences = finished
            self._show_text(self._released())

    def _show_text(self, text: str) -> None:
        if text != self.shown and text.startswith(self.shown):
            piece, self.shown = text[len(self.shown) :], text
            self._show(piece)

    def _released(self) -> str:
        text = self._written
        for guardrail in self.guardrails:
            slots = self._slots(guardrail)
            text = guardrail.releases(text, slots) if slots is not None else ""
        return text

    def _slots(self, guardrail: Guardrail) -> dict[str, Any] | None:
        """The slots that a guardrail reads besides the answer; None if one cannot be read now."""
        slots = {n: s for n, s in self._record.slots.items() if n in guardrail.reads and n != guardrail.on}
        try:
            data = self._read([slot.address for slot in slots.values() if not slot.loaded])
        except StoreError:
            return None
        for slot in slots.values():
            if not slot.loaded and slot.address in data:
                slot.fill(data[slot.address])
        return {n: s.value for n, s in slots.items()} if all(s.loaded for s in slots.values()) else None
