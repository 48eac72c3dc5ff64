"""Converts between LangChain messages and records of a chat."""

from __future__ import annotations

import uuid
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_openai_messages
from langchain_core.outputs import ChatGenerationChunk

from llmops_flows.core.record import Record, Span

from .callbacks import usage_metadata


def chat_record(messages: list[BaseMessage]) -> Record:
    """A new record of a chat."""
    return Record.of(uuid.uuid4().hex, {"messages": convert_to_openai_messages(messages)})


def _span(record: Record) -> Span:
    """The span of the model. Raises the record's error."""
    if record.error is not None:
        raise record.error
    return record.spans[-1]


def _metadata(span: Span) -> dict[str, Any]:
    cost = {"cost_usd": span.usage["cost_usd"]} if "cost_usd" in span.usage else {}
    notes = dict(span.notes)
    return {"model_name": notes.pop("model", ""), **notes, **cost}


def answer_message(record: Record) -> AIMessage:
    """The answer of a finished record. Raises the record's error."""
    span = _span(record)
    usage = usage_metadata(span.usage)
    return AIMessage(str(record.answer), usage_metadata=usage, response_metadata=_metadata(span))


def answer_chunk(text: str) -> ChatGenerationChunk:
    """A piece of an answer."""
    return ChatGenerationChunk(message=AIMessageChunk(content=text))


def final_chunk(record: Record, shown: int) -> ChatGenerationChunk:
    """The last chunk of a stream, with usage. It contains the answer if the answer was cached and not streamed."""
    span = _span(record)
    text = "" if shown else str(record.answer)
    usage = usage_metadata(span.usage)
    message = AIMessageChunk(
        content=text, usage_metadata=usage, response_metadata=_metadata(span), chunk_position="last"
    )
    return ChatGenerationChunk(message=message)
