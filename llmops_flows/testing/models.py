"""A model with scripted answers, streamed in pieces."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from llmops_flows.core.record import Message, Usage
from llmops_flows.core.roles import Model
from llmops_flows.core.stage import Call, Outcome, Positive


class ScriptedModel(Model):
    """Returns the first of its answers, and the next one for each further turn of a conversation.

    Attributes:
        answers: in order; the last one repeats.
        piece: characters per streamed token.
    """

    name: str = "scripted"
    answers: Annotated[tuple[str, ...], Field(min_length=1)]
    piece: Positive = 4

    def run(self, messages: list[Message], call: Call) -> Outcome:
        turns = sum(message["role"] == "assistant" for message in messages)
        text = self.answers[min(turns, len(self.answers) - 1)]
        for start in range(0, len(text), self.piece):
            call.token(text[start : start + self.piece])
        usage = Usage(input_tokens=len(messages), output_tokens=len(text.split()))
        return Outcome(text.strip(), usage=usage, notes={"model": self.name, "finish_reason": "stop"})
