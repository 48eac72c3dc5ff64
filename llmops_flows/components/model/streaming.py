"""Listening to a model that answers piece by piece: what counts as an answer, as a refusal, as broken off."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from llmops_flows.calls.service_errors import backend_error
from llmops_flows.core.errors import BackendError, DeadlineExceeded, FlowError
from llmops_flows.core.record import Usage
from llmops_flows.core.roles import Model
from llmops_flows.core.stage import Call, Outcome


class StreamedAnswer:
    """What a model has said so far. Each piece is shown as it comes.

    Attributes:
        finish: why it ended, by OpenAI's names; "" while it has not: a stream that ends so was cut.
        refused: whether the model declined; `why` is what it said of it, where that is not its answer.
        usage: tokens, as the service counts them; empty where it does not.
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
        """Take the next piece. Raises BackendError when nobody waits for the answer any more."""
        if self._call.cancelled():
            raise BackendError("the call was cancelled: nobody waits for its answer any more")
        if piece:
            self._pieces.append(piece)
            self._call.token(piece)

    @property
    def text(self) -> str:
        return "".join(self._pieces).strip()


async def stream_answer(model: Model, call: Call, ask: Callable[[StreamedAnswer, float], Awaitable[None]]) -> Outcome:
    """The outcome of one streamed call: `ask(heard, seconds)` asks the service and tells `heard` what it says.

    Raises:
        DeadlineExceeded: the call's time was used up.
        BackendError: the service refused or failed, or its answer broke off.
    """
    import asyncio

    seconds = model.limits.timeout if call.deadline is None else max(call.deadline - time.monotonic(), 0.001)
    heard = StreamedAnswer(call)
    try:
        async with asyncio.timeout(seconds) as clock:
            await ask(heard, seconds)
    except FlowError:
        raise
    except Exception as error:
        if clock.expired():
            raise DeadlineExceeded(
                f"{model.name} did not answer within {seconds:.3g} s; to wait longer: limits.timeout"
            ) from None
        raise backend_error(error, model.name, began=bool(heard.text)) from None
    return finish_answer(model, heard)


def finish_answer(model: Model, heard: StreamedAnswer) -> Outcome:
    """What was heard as the model's answer. Raises BackendError where it is none: cut, or nothing but thoughts."""
    usage = model.prices.cost(heard.usage) if heard.usage else Usage()
    try:
        return replace(_concluded(model, heard), usage=usage)
    except BackendError as error:
        error.usage = usage
        raise


def _concluded(model: Model, heard: StreamedAnswer) -> Outcome:
    text, finish = heard.text, "refusal" if heard.refused else heard.finish
    if not finish:
        raise BackendError(
            f"the answer of {model.name} broke off after {len(text)} characters: its stream ended early",
            retryable=True,
        )
    if finish == "length":
        _check_length(model, text)
    if finish == "content_filter" and not text:
        raise BackendError(f"the content filter of the service stopped {model.name} before its first word")
    if finish == "refusal" and not text:
        text = heard.refusal_text or f"{model.name} refused to answer."
    notes = {"model": heard.model or model.name, "finish_reason": finish}
    return Outcome(text, cacheable=finish not in ("refusal", "content_filter"), notes=notes)


def _check_length(model: Model, text: str) -> None:
    """An answer that max_tokens cut is an error where nothing, or only half of a JSON value, is left of it."""
    if text and model.json_schema is None:
        return
    lost = "its JSON was complete" if text else "it said a word (thinking counts as answered)"
    raise BackendError(f"{model.name} reached max_tokens={model.max_tokens} before {lost}; raise model.max_tokens")
