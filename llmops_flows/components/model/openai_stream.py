"""The OpenAI chat protocol: the request, and the stream of chunks that answers it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.core.record import Message, Usage

from .service_model import ServiceModel
from .streaming import StreamedAnswer


async def stream_chat(
    model: ServiceModel, request: Mapping[str, Any], answer: StreamedAnswer, seconds: float, account: Mapping[str, Any]
) -> None:
    """Send a request, and add the chunks of the response to `answer`."""
    key = model.api_key() or "none"

    def make_client() -> Any:
        openai = load("openai", "openai", f"model={model.provider}")
        base = model.connection.base_url
        return openai.AsyncOpenAI(api_key=key, base_url=base, max_retries=0, timeout=None, **account)

    client = await model.connection.client(key, make_client)
    extra = model.extra_body or None
    # The caller enforces the deadline. The timeout of the client ends requests that exceed it.
    async with await client.chat.completions.create(**request, extra_body=extra, timeout=seconds + 1) as stream:
        async for chunk in stream:
            _add_chunk(chunk, answer)


def _add_chunk(chunk: Any, answer: StreamedAnswer) -> None:
    """Add one chunk of the stream to the answer."""
    answer.model = chunk.model or answer.model
    for choice in chunk.choices or ():
        answer.add(choice.delta.content)
        if choice.delta.refusal:
            answer.refused = True
            answer.add(choice.delta.refusal)
        answer.finish = choice.finish_reason or answer.finish
    if chunk.usage is not None:
        answer.usage = _usage(chunk.usage)


def _usage(reported: Any) -> Usage:
    inputs, outputs = reported.prompt_tokens or 0, reported.completion_tokens or 0
    usage = Usage(input_tokens=inputs, output_tokens=outputs, total_tokens=inputs + outputs)
    input_details, output_details = reported.prompt_tokens_details, reported.completion_tokens_details
    details = {
        "cache_read": getattr(input_details, "cached_tokens", None) or 0,
        "cache_creation": getattr(input_details, "cache_write_tokens", None) or 0,
    }
    reasoning = getattr(output_details, "reasoning_tokens", None) or 0
    if any(details.values()):
        usage["input_token_details"] = {name: tokens for name, tokens in details.items() if tokens}
    if reasoning:
        usage["output_token_details"] = {"reasoning": reasoning}
    return usage


def base_request(model: ServiceModel, messages: list[Message]) -> dict[str, Any]:
    """The request fields that OpenAI and compatible servers have in common."""
    request: dict[str, Any] = {
        "model": model.name,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if model.stop:
        request["stop"] = list(model.stop)
    if model.seed is not None:
        request["seed"] = model.seed
    if model.json_schema is not None:
        schema = {"name": "answer", "schema": model.json_schema, "strict": supports_strict(model.json_schema)}
        request["response_format"] = {"type": "json_schema", "json_schema": schema}
    return request


def supports_strict(schema: Any) -> bool:
    """Whether OpenAI's strict mode accepts the schema: every object closed, every property required."""
    if isinstance(schema, list):
        return all(supports_strict(inner) for inner in schema)
    if not isinstance(schema, Mapping):
        return True
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(properties):
            return False
    return all(supports_strict(inner) for inner in schema.values())
