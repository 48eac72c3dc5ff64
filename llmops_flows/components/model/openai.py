"""Chat models by OpenAI, or by any service that speaks its protocol: llama.cpp, vLLM, Ollama, a gateway."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.core.record import Message, Usage
from llmops_flows.core.stage import OPERATIONAL, Call, Outcome

from ..service import Connection, ServiceModel
from .streaming import StreamedAnswer, listen

OFFICIAL = "https://api.openai.com/v1"
_THINKS = re.compile(r"(?:ft:)?(?:o\d|gpt-(?:[5-9]|\d{2,}))(?!.*chat)")
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class OpenAI(ServiceModel):
    """A chat model of OpenAI (Chat Completions).

    Models that think first (o1, o3, gpt-5 and later, not the `chat` ones) count their thoughts as answer tokens: give
    them room in max_tokens. They take no temperature, unless reasoning_effort is `none`, and no stop strings.

    Attributes:
        reasoning: whether the model thinks first; None tells it by the name.
        reasoning_effort: how long it thinks; None leaves that to the service.
        organization, project: who pays, where the key does not say it.
    """

    requires: ClassVar[tuple[str, ...]] = ("openai",)
    extra: ClassVar[str] = "openai"
    provider: ClassVar[str] = "openai"
    name: str = "gpt-5-mini"
    reasoning: bool | None = None
    reasoning_effort: Effort | None = None
    api_key_env: Annotated[str | None, OPERATIONAL] = "OPENAI_API_KEY"
    organization: Annotated[str | None, OPERATIONAL] = None
    project: Annotated[str | None, OPERATIONAL] = None

    @property
    def thinks(self) -> bool:
        """Whether the model answers after thoughts of its own."""
        return _THINKS.match(self.name) is not None if self.reasoning is None else self.reasoning

    @property
    def tempered(self) -> bool:
        """Whether the model takes a temperature."""
        return not self.thinks or self.reasoning_effort == "none"

    def problems(self) -> list[str]:
        found = super().problems()
        if not self.tempered and self.temperature not in (0, 1):
            found.append(f"temperature: {self.name} takes none; set 0 (one answer is enough) or 1 (they are drawn)")
        if self.thinks and self.stop:
            found.append(f"stop: {self.name} takes no stop strings; set stop=[]")
        return found

    @cached_property
    def connection(self) -> Connection:
        account = (self.organization, self.project)
        return Connection(library="openai", base_url=self.base_url or OFFICIAL, account=account)

    async def run(self, messages: list[Message], call: Call) -> Outcome:
        async def ask(heard: StreamedAnswer, seconds: float) -> None:
            await _ask(self, self.request(messages), heard, seconds, self.account)

        return await listen(self, call, ask)

    @property
    def account(self) -> dict[str, Any]:
        return {"organization": self.organization, "project": self.project}

    def request(self, messages: list[Message]) -> dict[str, Any]:
        """The body of the request, as far as this protocol's client names its fields."""
        wanted = {**_common(self, messages), "max_completion_tokens": self.max_tokens}
        if self.tempered:
            wanted["temperature"] = self.temperature
        if self.thinks and self.reasoning_effort is not None:
            wanted["reasoning_effort"] = self.reasoning_effort
        return wanted


async def _ask(
    model: ServiceModel, request: Mapping[str, Any], heard: StreamedAnswer, seconds: float, account: Mapping[str, Any]
) -> None:
    key = model.api_key() or "none"

    def make() -> Any:
        openai = load("openai", "openai", f"model={model.provider}")
        base = model.connection.base_url
        return openai.AsyncOpenAI(api_key=key, base_url=base, max_retries=0, timeout=None, **account)

    client = await model.connection.client(key, make)
    extra = model.extra_body or None
    # The deadline of the call is kept around this; the client's own only ends what hangs on after it.
    async with await client.chat.completions.create(**request, extra_body=extra, timeout=seconds + 1) as stream:
        async for chunk in stream:
            _take(chunk, heard)


def _take(chunk: Any, heard: StreamedAnswer) -> None:
    """Take what one piece of the stream says."""
    heard.model = chunk.model or heard.model
    for choice in chunk.choices or ():
        heard.say(choice.delta.content)
        if choice.delta.refusal:
            heard.refused = True
            heard.say(choice.delta.refusal)
        heard.finish = choice.finish_reason or heard.finish
    if chunk.usage is not None:
        heard.usage = _usage(chunk.usage)


def _usage(said: Any) -> Usage:
    given, made = said.prompt_tokens or 0, said.completion_tokens or 0
    usage = Usage(input_tokens=given, output_tokens=made, total_tokens=given + made)
    asked, answered = said.prompt_tokens_details, said.completion_tokens_details
    details = {
        "cache_read": getattr(asked, "cached_tokens", None) or 0,
        "cache_creation": getattr(asked, "cache_write_tokens", None) or 0,
    }
    thoughts = getattr(answered, "reasoning_tokens", None) or 0
    if any(details.values()):
        usage["input_token_details"] = {name: tokens for name, tokens in details.items() if tokens}
    if thoughts:
        usage["output_token_details"] = {"reasoning": thoughts}
    return usage


def _common(model: ServiceModel, messages: list[Message]) -> dict[str, Any]:
    wanted: dict[str, Any] = {
        "model": model.name,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if model.stop:
        wanted["stop"] = list(model.stop)
    if model.seed is not None:
        wanted["seed"] = model.seed
    if model.json_schema is not None:
        schema = {"name": "answer", "schema": model.json_schema, "strict": strict(model.json_schema)}
        wanted["response_format"] = {"type": "json_schema", "json_schema": schema}
    return wanted


def strict(schema: Any) -> bool:
    """Whether OpenAI can hold an answer to the schema to the letter: every object closed, every property required."""
    if isinstance(schema, list):
        return all(strict(inner) for inner in schema)
    if not isinstance(schema, Mapping):
        return True
    if schema.get("type") == "object":
        named = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(named):
            return False
    return all(strict(inner) for inner in schema.values())
