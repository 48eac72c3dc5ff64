"""`model=langchain`: any LangChain chat model class, nested in the caller's trace."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

from pydantic import Field

from llmops_flows.artifacts.lazy_import import load, load_class, target_problems
from llmops_flows.artifacts.resources import shared
from llmops_flows.core.errors import BackendError
from llmops_flows.core.fingerprint import target_code
from llmops_flows.core.record import Message, Usage
from llmops_flows.core.roles import Model
from llmops_flows.core.stage import Call, Outcome

from .streaming import StreamedAnswer, stream_answer

FAMILIES = ("langchain",)
_FINISH_FIELDS = ("finish_reason", "stop_reason", "done_reason")
_REPORTS_FINISH = ("langchain_openai", "langchain_anthropic", "langchain_ollama")
"""Libraries that always report a finish reason: a stream without one was cut off."""
_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "MAX_TOKENS": "length",
    "STOP": "stop",
    "SAFETY": "content_filter",
    "safety": "content_filter",
}


class LangChainModel(Model):
    """Any LangChain chat model class.

    The class receives name, temperature, max_tokens, seed and the timeout if it has such fields and `params` does not
    set them; `stop` is sent with each call. The class does not retry, the call gate does. Its run nests in the
    caller's trace, and its tokens are streamed.

    Attributes:
        target: dotted name of the class, such as `langchain_openai.ChatOpenAI`.
        params: arguments of the class; keys belong in the environment.
    """

    requires: ClassVar[tuple[str, ...]] = ("langchain_core",)
    extra: ClassVar[str] = "langchain"
    provider: ClassVar[str] = "langchain"
    reports_to_callbacks: ClassVar[bool] = True
    target: str
    params: dict[str, Any] = Field(default_factory=dict)

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        return {**super().fingerprint(include_operational=include_operational), "library": target_code(self.target)}

    def problems(self) -> list[str]:
        return target_problems(self.target, FAMILIES)

    @property
    def backend(self) -> str:
        url = self.params.get("base_url") or self.params.get("endpoint")
        return "/".join([self.target.partition(".")[0], *([str(url)] if url else []), self.name])

    @property
    def max_output_tokens(self) -> int:
        names = ("max_tokens", "max_completion_tokens", "max_output_tokens", "num_predict")
        limits = [limit for name in names if type(limit := self.params.get(name)) is int]
        answers = self.params.get("n")
        return max([self.max_tokens, *limits]) * max(1, answers if type(answers) is int else 1)

    @property
    def random(self) -> bool:
        temperature = self.params.get("temperature", self.temperature)
        return bool(temperature) and self.seed is None and self.params.get("seed") is None

    async def run(self, messages: list[Message], call: Call) -> Outcome:
        async def receive(answer: StreamedAnswer, seconds: float) -> None:
            model = await asyncio.to_thread(shared, self, self._load)
            chat = load("langchain_core.messages", self.extra).convert_to_messages(messages)
            with _tracing(call):
                if self.json_schema is None:
                    await self._stream(model, chat, call, answer)
                else:
                    await self._structured(model, chat, call, answer)

        return await stream_answer(self, call, receive)

    async def _stream(self, model: Any, chat: Any, call: Call, answer: StreamedAnswer) -> None:
        message = None
        async for chunk in model.astream(chat, config=_config(call), stop=list(self.stop) or None):
            answer.add(str(chunk.text))
            message = chunk if message is None else message + chunk
        if message is not None:
            self._add_metadata(message, answer)

    async def _structured(self, model: Any, chat: Any, call: Call, answer: StreamedAnswer) -> None:
        """Receive a JSON answer through the class's structured output, which is not streamed."""
        schema = {"title": "answer", "properties": {}, **(self.json_schema or {})}  # LangChain requires both
        try:
            structured = model.with_structured_output(schema, include_raw=True)
        except NotImplementedError:
            raise BackendError(f"{self.target} does not support answers that follow a JSON schema") from None
        result = await structured.ainvoke(chat, config=_config(call))
        self._add_metadata(result["raw"], answer)
        if result["parsed"] is not None:
            answer.add(json.dumps(result["parsed"], ensure_ascii=False))
            answer.finish = "stop"
        elif not answer.refused:
            answer.add(str(result["raw"].text))
            if answer.finish != "length":
                raise BackendError(
                    f"{self.name} returned no answer that matches model.json_schema: {result['parsing_error']}"
                )

    def _add_metadata(self, message: Any, answer: StreamedAnswer) -> None:
        """Add the model, the finish reason, the refusal and the usage of a complete message."""
        metadata = message.response_metadata or {}
        answer.model = metadata.get("model_name") or metadata.get("model") or ""
        reason = next((str(metadata[name]) for name in _FINISH_FIELDS if metadata.get(name)), "")
        cut_off = not reason and self.target.partition(".")[0] in _REPORTS_FINISH
        answer.finish = "" if cut_off else _FINISH_REASONS.get(reason, reason or "stop")
        refusal = (message.additional_kwargs or {}).get("refusal")
        answer.refused = bool(refusal) or reason == "refusal"
        answer.refusal_text = str(refusal or "")
        answer.usage = _usage(message.usage_metadata)

    def _load(self) -> Any:
        cls = load_class(self.target, FAMILIES, _base_classes, "LangChain chat model class", self.extra)
        return cls(**self._arguments(cls))

    def _arguments(self, cls: Any) -> dict[str, Any]:
        """The arguments of the class: `params`, and the model's fields that the class accepts."""
        field_names: dict[str, str] = {}
        for name, field in cls.model_fields.items():
            field_names[name] = name
            field_names[field.alias or name] = name
        defaults: dict[str, Any] = {"model": self.name, "temperature": self.temperature, "max_tokens": self.max_tokens}
        defaults |= {"timeout": self.limits.timeout + 1, "stream_usage": True}
        if self.seed is not None:
            defaults["seed"] = self.seed
        set_in_params = {field_names.get(name, name) for name in self.params}
        chosen = {
            name: value
            for name, value in defaults.items()
            if name in field_names and field_names[name] not in set_in_params
        }
        retries = {"max_retries": 0} if "max_retries" in field_names else {}
        return {**chosen, **self.params, **retries}


def _base_classes() -> tuple[type, ...]:
    return (load("langchain_core.language_models", "langchain").BaseChatModel,)


def _config(call: Call) -> Any:
    """The caller's RunnableConfig for this stage of this record: callbacks, tags, metadata."""
    child = getattr(call.host, "child", None)
    return child(call.stage, call.record) if child is not None else call.host


def _tracing(call: Call) -> AbstractContextManager[Any]:
    """Disable LangSmith's own tracing outside of a LangChain app, because the flow's tracer records the run."""
    if call.host is not None:
        return nullcontext()
    disabled: AbstractContextManager[Any] = load("langsmith.run_helpers", "langsmith").tracing_context(enabled=False)
    return disabled


def _usage(metadata: Mapping[str, Any] | None) -> Usage:
    """LangChain's usage_metadata, which has the same field names."""
    if not metadata:
        return Usage()
    usage = Usage(
        input_tokens=metadata.get("input_tokens", 0),
        output_tokens=metadata.get("output_tokens", 0),
        total_tokens=metadata.get("total_tokens", 0),
    )
    inputs = {name: n for name, n in (metadata.get("input_token_details") or {}).items() if n}
    outputs = {name: n for name, n in (metadata.get("output_token_details") or {}).items() if n}
    if inputs:
        usage["input_token_details"] = inputs
    if outputs:
        usage["output_token_details"] = outputs
    return usage
