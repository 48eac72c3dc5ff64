"""Collects a streamed answer, and distinguishes complete answers, refusals and interrupted streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from llmops_flows.calls.service_errors import backend_error
from llmops_flows.core.errors import BackendError, DeadlineExceeded, FlowError
from llmops_flows.core.record import Usage
from llmops_flows.core.roles import Model
from llmops_flows.core.stage import Call, Outcome


class StreamedAnswer:
    """The answer of a model while it is streamed. Each piece is emitted immediately.

    Attributes:
        finish: OpenAI's finish reason; "" for a stream that has not ended, or was cut off.
        refused: whether the model declined; `refusal_text` is its explanation, if it is not part of the answer.
        usage: tokens as counted by the service; empty if it does not count them.
        model: the exact model that answered.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._pieces: list[str] = []
        self.finish = ""
        self.refused = False
        self.refusal_text = ""
        self.usage = Usage()
        self.model = ""

    def add(self, piece: str | None) -> None:
        """Add the next piece; None only checks for cancellation. Raises BackendError if the call was cancelled."""
        if self._call.cancelled():
            raise BackendError("the call was cancelled")
        if piece:
            self._pieces.append(piece)
            self._call.token(piece)

    @property
    def text(self) -> str:
        return "".join(self._pieces).strip()


async def stream_answer(
    model: Model, call: Call, receive: Callable[[StreamedAnswer, float], Awaitable[None]]
) -> Outcome:
    """The outcome of one streamed call. `receive(answer, seconds)` calls the service and adds to `answer`.

    Raises:
        DeadlineExceeded: the deadline of the call passed.
        BackendError: the service refused or failed, or the stream was cut off.
    """
    seconds = model.limits.timeout if call.deadline is None else max(call.deadline - time.monotonic(), 0.001)
    answer = StreamedAnswer(call)
    try:
        async with asyncio.timeout(seconds) as clock:
            await receive(answer, seconds)
    except FlowError:
        raise
    except Exception as error:
        if clock.expired():
            raise DeadlineExceeded(
                f"{model.name} did not answer within {seconds:.3g} s; to wait longer: limits.timeout"
            ) from None
        raise backend_error(error, model.name, began=bool(answer.text)) from None
    return finish_answer(model, answer)


def finish_answer(model: Model, answer: StreamedAnswer) -> Outcome:
    """The outcome of an ended stream. Raises BackendError if it was cut off or has no answer."""
    usage = model.prices.cost(answer.usage) if answer.usage else Usage()
    try:
        return replace(_outcome(model, answer), usage=usage)
    except BackendError as error:
        error.usage = usage
        raise


def _outcome(model: Model, answer: StreamedAnswer) -> Outcome:
    text, finish = answer.text, "refusal" if answer.refused else answer.finish
    if not finish:
        raise BackendError(
            f"the answer of {model.name} was interrupted after {len(text)} characters: the stream ended early",
            retryable=True,
        )
    if finish == "length":
        _check_length(model, text)
    if finish == "content_filter" and not text:
        raise BackendError(f"the content filter of the service stopped {model.name} before its first word")
    if finish == "refusal" and not text:
        text = answer.refusal_text or f"{model.name} refused to answer."
    notes = {"model": answer.model or model.name, "finish_reason": finish}
    return Outcome(text, cacheable=finish not in ("refusal", "content_filter"), notes=notes)


def _check_length(model: Model, text: str) -> None:
    """Raise BackendError if max_tokens left no text, or incomplete JSON."""
    if text and model.json_schema is None:
        return
    goal = "its JSON was complete" if text else "it wrote any text (reasoning tokens count)"
    raise BackendError(f"{model.name} reached max_tokens={model.max_tokens} before {goal}; raise model.max_tokens")
