"""Chat models by Anthropic (Messages API), or by a service that speaks its protocol."""

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
_TEMPERED = re.compile(r"claude-(?:[123]|(?:opus|sonnet|haiku)-4(?:-[0-6])?(?:$|-\d{8}|@))")
FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
}
"""Anthropic's reason why an answer ended, by OpenAI's name."""


class Anthropic(ServiceModel):
    """A chat model of Anthropic.

    System messages become the request's `system`, joined by blank lines. Models after Claude 4.6 take no
    temperature; it is not sent to them. `seed` is not known to the service: it numbers the answers that are kept.

    Attributes:
        takes_temperature: whether the model does; None tells it by the name.
        effort: how hard the model works; None leaves that to the service.
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
        """Whether the model takes a temperature."""
        return _TEMPERED.match(self.name) is not None if self.takes_temperature is None else self.takes_temperature

    def problems(self) -> list[str]:
        found = super().problems()
        if self.temperature > 1:
            found.append("temperature: Anthropic's models take 0 to 1")
        elif not self.accepts_temperature and self.temperature not in (0, 1):
            found.append(f"temperature: {self.name} takes none; set 0 (one answer is enough) or 1 (they are drawn)")
        return found

    @cached_property
    def connection(self) -> Connection:
        return Connection(library="anthropic", base_url=self.base_url or OFFICIAL)

    async def run(self, messages: list[Message], call: Call) -> Outcome:
        async def ask(heard: StreamedAnswer, seconds: float) -> None:
            key = self.api_key() or "none"
            client = await self.connection.client(key, lambda: self._client(key))
            # The deadline of the call is kept around this; the client's own only ends what hangs on after it.
            async with await client.messages.create(**self.request(messages), timeout=seconds + 1) as stream:
                async for event in stream:
                    _take(event, heard)

        return await stream_answer(self, call, ask)

    def _client(self, key: str) -> Any:
        anthropic = load("anthropic", self.extra, "model=anthropic")
        return anthropic.AsyncAnthropic(api_key=key, base_url=self.connection.base_url, max_retries=0, timeout=None)

    def request(self, messages: list[Message]) -> dict[str, Any]:
        """The request, as the client takes it."""
        system = "\n\n".join(_text(m["content"]) for m in messages if m["role"] == "system")
        said = [{"role": m["role"], "content": m["content"]} for m in messages if m["role"] != "system"]
        wanted: dict[str, Any] = {
            "model": self.name,
            "messages": [message for message in said if message["content"]],
            "max_tokens": self.max_tokens,
            "stream": True,
        }
        if system:
            wanted["system"] = system
        if self.stop:
            wanted["stop_sequences"] = list(self.stop)
        body = {**self._newer(), **self.extra_body}
        return {**wanted, "extra_body": body} if body else wanted

    def _newer(self) -> dict[str, Any]:
        """Fields that not every version of the client names."""
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


def _take(event: Any, heard: StreamedAnswer) -> None:
    """Take what one event of the stream says."""
    if event.type == "message_start":
        heard.model = event.message.model
        heard.usage = _usage(event.message.usage, heard.usage)
    elif event.type == "content_block_delta" and event.delta.type == "text_delta":
        heard.add(event.delta.text)
    elif event.type == "message_delta":
        reason = event.delta.stop_reason
        heard.refused = reason == "refusal"
        heard.refusal_text = getattr(getattr(event.delta, "stop_details", None), "explanation", None) or ""
        heard.finish = FINISH.get(reason, reason or "")
        heard.usage = _usage(event.usage, heard.usage)
    else:
        heard.add(None)


def _usage(said: Any, before: Usage) -> Usage:
    """The usage so far. The service counts input that it had kept apart; LangChain's names hold all of it."""
    if said is None:
        return before
    details = dict(before.get("input_token_details", {}))
    fresh = before.get("input_tokens", 0) - sum(details.values())
    for name, field in (("cache_read", "cache_read_input_tokens"), ("cache_creation", "cache_creation_input_tokens")):
        if getattr(said, field, None):
            details[name] = getattr(said, field)
    fresh = fresh if said.input_tokens is None else said.input_tokens
    given, made = fresh + sum(details.values()), said.output_tokens or 0
    usage = Usage(input_tokens=given, output_tokens=made, total_tokens=given + made)
    if details:
        usage["input_token_details"] = details
    thoughts = getattr(getattr(said, "output_tokens_details", None), "thinking_tokens", None) or 0
    if thoughts:
        usage["output_token_details"] = {"reasoning": thoughts}
    return usage
