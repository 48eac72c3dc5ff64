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
    """A chat model behind any server that speaks OpenAI's protocol.

    A local server needs no key: leave api_key_env empty. What differs between servers:

    - llama.cpp answers with the model it was started with, whatever `name` says; too long a prompt is an error.
    - vLLM knows its models by name (`/v1/models` lists them); options of its own go into extra_body, as
      `chat_template_kwargs: {enable_thinking: false}`.
    - Ollama silently drops the beginning of a prompt that is longer than its own context (`OLLAMA_CONTEXT_LENGTH`).

    Thoughts that a server sends beside the answer (`reasoning_content`) are no part of it.

    Attributes:
        base_url: where the server is, with its version: http://127.0.0.1:8080/v1.
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
            return [f"the environment has no {self.api_key_env}; set it, or set api_key_env=null if no key is needed"]
        return super().problems()

    async def run(self, messages: list[Message], call: Call) -> Outcome:
        async def ask(heard: StreamedAnswer, seconds: float) -> None:
            await stream_chat(self, self.request(messages), heard, seconds, {})

        return await stream_answer(self, call, ask)

    def request(self, messages: list[Message]) -> dict[str, Any]:
        """The body of the request, in the names that every such server knows."""
        return {**base_request(self, messages), "max_tokens": self.max_tokens, "temperature": self.temperature}
