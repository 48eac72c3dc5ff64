"""`model=echo`: returns the prompt, for tests and dry runs."""

from __future__ import annotations

from llmops_flows.core.record import Message, Usage
from llmops_flows.core.roles import Model
from llmops_flows.core.stage import Call, Outcome


class Echo(Model):
    """Answers with the last message, streamed word by word."""

    name: str = "echo"

    def run(self, messages: list[Message], call: Call) -> Outcome:
        text = messages[-1]["content"]
        for word in text.split(" "):
            call.token(word + " ")
        words = len(text.split())
        usage = Usage(input_tokens=words, output_tokens=words, total_tokens=2 * words)
        return Outcome(text, usage=self.prices.cost(usage), notes={"model": self.name, "finish_reason": "stop"})
