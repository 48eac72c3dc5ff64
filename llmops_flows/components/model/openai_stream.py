"""The OpenAI chat protocol: the request, and the stream of chunks that answers it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.core.record import Message, Usage

from .service_model import ServiceModel
from .streaming import StreamedAnswer


async def stream_chat(
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
        heard.add(choice.delta.content)
        if choice.delta.refusal:
            heard.refused = True
            heard.add(choice.delta.refusal)
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


def base_request(model: ServiceModel, messages: list[Message]) -> dict[str, Any]:
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
        schema = {"name": "answer", "schema": model.json_schema, "strict": supports_strict(model.json_schema)}
        wanted["response_format"] = {"type": "json_schema", "json_schema": schema}
    return wanted


def supports_strict(schema: Any) -> bool:
    """Whether OpenAI can hold an answer to the schema to the letter: every object closed, every property required."""
    if isinstance(schema, list):
        return all(supports_strict(inner) for inner in schema)
    if not isinstance(schema, Mapping):
        return True
    if schema.get("type") == "object":
        named = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(named):
            return False
    return all(supports_strict(inner) for inner in schema.values())
