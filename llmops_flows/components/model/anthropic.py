"""`model=anthropic`: Anthropic's Messages API, or another service with the same API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.core.record import Message, Usage
from llmops_flows.core.stage import OPERATIONAL, Call, Outcome

from .service_model import Connection, ServiceModel
from .streaming import StreamedAnswer, stream_answer

OFFICIAL = "https://api.anthropic.com"
_ACCEPTS_TEMPERATURE = re.compile(r"claude-(?:[123]|(?:opus|sonnet|haiku)-4(?:-[0-6])?(?:$|-\d{8}|@))")
FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
}
"""Anthropic's stop reason to OpenAI's finish reason."""


class Anthropic(ServiceModel):
    """A chat model of Anthropic.

    System messages become the request's `system`, joined by blank lines. Models after Claude 4.6 do not accept a
    temperature and are not sent one. `seed` is not sent; it numbers the stored answers.

    Attributes:
        takes_temperature: whether the model accepts a temperature; None derives it from the name.
        effort: reasoning effort; None for the service's default.
    """

    requires: ClassVar[tuple[str, ...]] = ("anthropic",)
    extra: ClassVar[str] = "anthropic"
    provider: ClassVar[str] = "anthropic"
    name: str = "claude-haiku-4-5"
    takes_temperature: bool | None = None
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    api_key_env: Annotated[str | None, OPERATIONAL] = "ANTHROPIC_API_KEY"

    @property
    def accepts_temperature(self) -> bool:
        """Whether the model accepts a temperature."""
        if self.takes_temperature is not None:
            return self.takes_temperature
        return _ACCEPTS_TEMPERATURE.match(self.name) is not None

    def problems(self) -> list[str]:
        problems = super().problems()
        if self.temperature > 1:
            problems.append("temperature: Anthropic's models accept 0 to 1")
        elif not self.accepts_temperature and self.temperature not in (0, 1):
            problems.append(
                f"temperature: {self.name} does not accept a temperature; set 0 (reuse one answer) or 1 (sample)"
            )
        return problems

    @cached_property
    def connection(self) -> Connection:
        return Connection(library="anthropic", base_url=self.base_url or OFFICIAL)

    async def run(self, messages: list[Message], call: Call) -> Outcome:
        async def receive(answer: StreamedAnswer, seconds: float) -> None:
            key = self.api_key() or "none"
            client = await self.connection.client(key, lambda: self._client(key))
            # The caller enforces the deadline. The timeout of the client ends requests that exceed it.
            async with await client.messages.create(**self.request(messages), timeout=seconds + 1) as stream:
                async for event in stream:
                    _add_event(event, answer)

        return await stream_answer(self, call, receive)

    def _client(self, key: str) -> Any:
        anthropic = load("anthropic", self.extra, "model=anthropic")
        return anthropic.AsyncAnthropic(api_key=key, base_url=self.connection.base_url, max_retries=0, timeout=None)

    def request(self, messages: list[Message]) -> dict[str, Any]:
        """The arguments of the client's `messages.create`."""
        system = "\n\n".join(_text(m["content"]) for m in messages if m["role"] == "system")
        messages_sent = [{"role": m["role"], "content": m["content"]} for m in messages if m["role"] != "system"]
        request: dict[str, Any] = {
            "model": self.name,
            "messages": [message for message in messages_sent if message["content"]],
            "max_tokens": self.max_tokens,
            "stream": True,
        }
        if system:
            request["system"] = system
        if self.stop:
            request["stop_sequences"] = list(self.stop)
        body = {**self._extra_fields(), **self.extra_body}
        return {**request, "extra_body": body} if body else request

    def _extra_fields(self) -> dict[str, Any]:
        """Fields that not every version of the client has as arguments."""
        body: dict[str, Any] = {"temperature": self.temperature} if self.accepts_temperature else {}
        output: dict[str, Any] = {"effort": self.effort} if self.effort else {}
        if self.json_schema is not None:
            output["format"] = {"type": "json_schema", "schema": self.json_schema}
        return {**body, "output_config": output} if output else body


def _text(content: Any) -> str:
    """The text of a message's content, which may be a list of parts."""
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content or () if isinstance(part, Mapping))


def _add_event(event: Any, answer: StreamedAnswer) -> None:
    """Add one event of the stream to the answer."""
    if event.type == "message_start":
        answer.model = event.message.model
        answer.usage = _usage(event.message.usage, answer.usage)
    elif event.type == "content_block_delta" and event.delta.type == "text_delta":
        answer.add(event.delta.text)
    elif event.type == "message_delta":
        reason = event.delta.stop_reason
        answer.refused = reason == "refusal"
        answer.refusal_text = getattr(getattr(event.delta, "stop_details", None), "explanation", None) or ""
        answer.finish = FINISH.get(reason, reason or "")
        answer.usage = _usage(event.usage, answer.usage)
    else:
        answer.add(None)


def _usage(reported: Any, before: Usage) -> Usage:
    """The usage so far. The service counts cached input separately; `input_tokens` includes it."""
    if reported is None:
        return before
    details = dict(before.get("input_token_details", {}))
    uncached = before.get("input_tokens", 0) - sum(details.values())
    for name, field in (("cache_read", "cache_read_input_tokens"), ("cache_creation", "cache_creation_input_tokens")):
        if getattr(reported, field, None):
            details[name] = getattr(reported, field)
    uncached = uncached if reported.input_tokens is None else reported.input_tokens
    inputs, outputs = uncached + sum(details.values()), reported.output_tokens or 0
    usage = Usage(input_tokens=inputs, output_tokens=outputs, total_tokens=inputs + outputs)
    if details:
        usage["input_token_details"] = details
    reasoning = getattr(getattr(reported, "output_tokens_details", None), "thinking_tokens", None) or 0
    if reasoning:
        usage["output_token_details"] = {"reasoning": reasoning}
    return usage
