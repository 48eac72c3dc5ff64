"""`model=openai_compatible`: any server that implements the OpenAI API."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

from llmops_flows.core.record import Message
from llmops_flows.core.stage import Call, Outcome

from .openai_stream import base_request, stream_chat
from .service_model import Connection, ServiceModel
from .streaming import StreamedAnswer, stream_answer


class OpenAICompatible(ServiceModel):
    """A chat model on any server that implements OpenAI's Chat Completions API.

    A local server needs no key: leave api_key_env empty. Servers differ:

    - llama.cpp ignores `name` and uses the model that it was started with. A prompt that is too long is an error.
    - vLLM selects its model by `name` (`/v1/models` lists them). Options of vLLM go into extra_body, such as
      `chat_template_kwargs: {enable_thinking: false}`.
    - Ollama drops the beginning of a prompt that is longer than its context (`OLLAMA_CONTEXT_LENGTH`).

    Reasoning that a server sends in addition to the answer (`reasoning_content`) is not part of the answer.

    Attributes:
        base_url: URL of the server with its version, such as http://127.0.0.1:8080/v1.
    """

    requires: ClassVar[tuple[str, ...]] = ("openai",)
    extra: ClassVar[str] = "openai"
    provider: ClassVar[str] = "openai_compatible"
    needs_key: ClassVar[bool] = False
    name: str
    base_url: str

    @cached_property
    def connection(self) -> Connection:
        return Connection(library="openai", base_url=self.base_url)

    def problems(self) -> list[str]:
        if self.api_key_env and not self.api_key():
            return [f"the environment variable {self.api_key_env} is not set; if no key is needed: api_key_env=null"]
        return super().problems()

    async def run(self, messages: list[Message], call: Call) -> Outcome:
        async def receive(answer: StreamedAnswer, seconds: float) -> None:
            await stream_chat(self, self.request(messages), answer, seconds, {})

        return await stream_answer(self, call, receive)

    def request(self, messages: list[Message]) -> dict[str, Any]:
        """The request, with the field names that every such server accepts."""
        return {**base_request(self, messages), "max_tokens": self.max_tokens, "temperature": self.temperature}
