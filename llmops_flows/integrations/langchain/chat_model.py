"""A model of llmops_flows as a LangChain chat model, with the call gate, cache and tracing of a flow."""

from __future__ import annotations

import asyncio
import json
import queue
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import cached_property
from operator import itemgetter
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableParallel, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from llmops_flows.calls.event_loop import BackgroundRun
from llmops_flows.core.errors import ConfigError
from llmops_flows.core.events import Event
from llmops_flows.core.flow import Flow
from llmops_flows.core.limits import Limits
from llmops_flows.core.record import Record
from llmops_flows.core.roles import Model
from llmops_flows.engine.runner import Runner

from .messages import answer_chunk, answer_message, chat_record, final_chunk

_MODEL = "model"
_CHANGES = ("temperature", "max_tokens", "seed", "json_schema")
_MAX_VARIANTS = 32


class ChatFlowModel(BaseChatModel):
    """A LangChain chat model that runs a model of llmops_flows.

    A field that is None keeps the model's own setting. Fields can also be set per call (`bind(temperature=0.5)`).

    Attributes:
        stage: the model.
        runner: executes the model; with a store, answers are stored. The default runner has no store.
        model_name: alias `model`; another model of the same service.
        temperature, max_tokens, stop, seed: override the model's fields.
        timeout: seconds per call, retries included. max_retries: at most 2.
        api_key: accepted for compatibility and ignored; the key is read from the environment.
        streaming: accepted for compatibility; answers are always streamed internally.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, populate_by_name=True, protected_namespaces=())
    stage: Model
    runner: Runner = Field(default_factory=Runner, exclude=True)
    model_name: str | None = Field(default=None, alias="model")
    temperature: float | None = None
    max_tokens: int | None = None
    stop: list[str] | None = None
    seed: int | None = None
    timeout: float | None = None
    max_retries: int | None = None
    api_key: SecretStr | None = Field(default=None, exclude=True)
    streaming: bool = False

    @model_validator(mode="after")
    def _reads_messages(self) -> ChatFlowModel:
        missing = [slot for slot, required in self.stage.reads.items() if required and slot != "messages"]
        if missing:
            raise ConfigError(
                f"{type(self.stage).__name__} is not a chat model: it reads {', '.join(map(repr, missing))}"
            )
        return self

    @property
    def _llm_type(self) -> str:
        return f"llmops_flows-{self.stage.provider}"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        configured = self.variant()
        return {"model": configured.name, "identity": configured.identity}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        configured = self.variant(stop, **kwargs)
        params = LangSmithParams(
            ls_provider=configured.provider,
            ls_model_name=configured.name,
            ls_model_type="chat",
            ls_temperature=configured.temperature,
            ls_max_tokens=configured.max_tokens,
        )
        if configured.stop:
            params["ls_stop"] = list(configured.stop)
        return params

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        record = chat_record(messages)
        self.runner.run(self._flow(stop, kwargs), [record], only=("answer",))
        return ChatResult(generations=[ChatGeneration(message=answer_message(record))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        record = chat_record(messages)
        await self.runner.arun(self._flow(stop, kwargs), [record], only=("answer",))
        return ChatResult(generations=[ChatGeneration(message=answer_message(record))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        record, pieces = chat_record(messages), queue.SimpleQueue[str | None]()
        running = BackgroundRun(self._work(record, stop, kwargs, pieces.put))
        running.future.add_done_callback(lambda _: pieces.put(None))
        shown = 0
        try:
            while (piece := pieces.get()) is not None:
                shown += len(piece)
                chunk = answer_chunk(piece)
                if run_manager is not None:
                    run_manager.on_llm_new_token(piece, chunk=chunk)
                yield chunk
            running.future.result()
        finally:
            if not running.future.done():
                running.stop()
        yield final_chunk(record, shown)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        record, pieces = chat_record(messages), asyncio.Queue[str | None]()
        loop = asyncio.get_running_loop()

        def put(piece: str | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        running = BackgroundRun(self._work(record, stop, kwargs, put))
        running.future.add_done_callback(lambda _: put(None))
        shown = 0
        try:
            while (piece := await pieces.get()) is not None:
                shown += len(piece)
                chunk = answer_chunk(piece)
                if run_manager is not None:
                    await run_manager.on_llm_new_token(piece, chunk=chunk)
                yield chunk
            running.future.result()
        finally:
            if not running.future.done():
                running.cancel()
        yield final_chunk(record, shown)

    async def _work(
        self, record: Record, stop: list[str] | None, kwargs: Mapping[str, Any], put: Callable[[str], None]
    ) -> None:
        flow = self._flow(stop, kwargs)
        await self.runner.arun(flow, [record], only=("answer",), sinks=(_TokenSink(put),))

    @cached_property
    def _variants(self) -> dict[str, Model]:
        return {}

    def variant(self, stop: list[str] | None = None, **changes: Any) -> Model:
        """The model with the changes of a call: temperature, max_tokens, seed, json_schema, model, stop."""
        fields: dict[str, Any] = {}
        for name in _CHANGES:
            value = changes.get(name) if changes.get(name) is not None else getattr(self, name, None)
            if value is not None:
                fields[name] = value
        model_name = changes.get("model") or self.model_name
        stops = stop if stop is not None else self.stop
        fields |= {"name": model_name} if model_name else {}
        fields |= {"stop": tuple(stops)} if stops is not None else {}
        key = json.dumps(fields, sort_keys=True, default=str)
        if key not in self._variants:
            if len(self._variants) >= _MAX_VARIANTS:
                self._variants.clear()
            self._variants[key] = _changed(self.stage, {**fields, "limits": self._limits()})
        return self._variants[key]

    def _limits(self) -> Limits:
        limits: dict[str, Any] = {}
        if self.timeout is not None:
            limits["timeout"] = self.timeout
        if self.max_retries is not None:
            limits["attempts"] = max(1, min(3, self.max_retries + 1))
        return Limits(**{**self.stage.limits.model_dump(), **limits})

    def _flow(self, stop: list[str] | None, kwargs: Mapping[str, Any]) -> Flow:
        changes = {name: value for name, value in kwargs.items() if name in (*_CHANGES, "model")}
        stage = self.variant(stop, **changes)
        return Flow(name=stage.name, inputs=("messages",), stages={_MODEL: stage})

    def with_structured_output(
        self,
        schema: dict[str, Any] | type[Any],
        *,
        include_raw: bool = False,
        method: str = "json_schema",
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Answers that follow a JSON schema or TypedDict (a dict) or a pydantic class (an object).

        `method` is ignored: the model's own JSON schema support is used, which is its strictest method.
        """
        json_schema = convert_to_json_schema(schema)
        format_info = {"kwargs": {"method": method, "strict": strict}, "schema": json_schema}
        model = self.bind(json_schema=json_schema, ls_structured_output_format=format_info)
        is_class = isinstance(schema, type) and hasattr(schema, "model_validate")
        parser: Any = PydanticOutputParser(pydantic_object=schema) if is_class else JsonOutputParser()
        if not include_raw:
            return cast(Runnable[LanguageModelInput, Any], model | parser)
        parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        failed = RunnablePassthrough.assign(parsed=lambda _: None, parsing_error=itemgetter("error"))
        chain: Any = RunnableParallel(raw=model) | parsed.with_fallbacks([failed], exception_key="error")
        return cast(Runnable[LanguageModelInput, Any], chain)


class _TokenSink:
    """Passes each token of the answer to a function."""

    def __init__(self, put: Callable[[str], None]) -> None:
        self._put = put

    def on(self, event: Event) -> None:
        if event.kind == "token":
            self._put(event.data["text"])

    def close(self) -> None:
        """Nothing to release."""


def as_langchain_chat_model(model: Model, runner: Runner | None = None) -> ChatFlowModel:
    """The model as a LangChain chat model. If `runner` has a store, answers are stored.

    Raises:
        ConfigError: the model reads more than messages, such as `extractive`.
    """
    return ChatFlowModel(stage=model) if runner is None else ChatFlowModel(stage=model, runner=runner)


def _changed(stage: Model, changes: Mapping[str, Any]) -> Model:
    """A copy with changed fields. If the name changes, prices are read from the price list again."""
    fields = {name: getattr(stage, name) for name in type(stage).model_fields}
    if changes.get("name", stage.name) != stage.name and fields.get("price_list"):
        del fields["prices"]
    return type(stage)(**{**fields, **changes})
