"""Any LangChain chat model class as a model, nested in the caller's trace."""

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
_ENDED = ("finish_reason", "stop_reason", "done_reason")
_SAYS_END = ("langchain_openai", "langchain_anthropic", "langchain_ollama")
"""Libraries whose streams always say why they ended: without it, the stream was cut."""
_BY_OPENAI = {
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

    The fields name, temperature, max_tokens, seed and the timeout of the limits are handed to the class where it
    has such fields, unless `params` says otherwise; `stop` goes with each call. The class's own retries are switched
    off: the call gate tries again. Its run nests in the caller's trace, and its tokens stream.

    Attributes:
        target: dotted name of the class, as `langchain_openai.ChatOpenAI`.
        params: what it is constructed with (plain data; keys belong into the environment).
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
        place = self.params.get("base_url") or self.params.get("endpoint")
        return "/".join([self.target.partition(".")[0], *([str(place)] if place else []), self.name])

    @property
    def max_output_tokens(self) -> int:
        names = ("max_tokens", "max_completion_tokens", "max_output_tokens", "num_predict")
        rooms = [room for name in names if type(room := self.params.get(name)) is int]
        answers = self.params.get("n")
        return max([self.max_tokens, *rooms]) * max(1, answers if type(answers) is int else 1)

    @property
    def random(self) -> bool:
        warm = self.params.get("temperature", self.temperature)
        return bool(warm) and self.seed is None and self.params.get("seed") is None

    async def run(self, messages: list[Message], call: Call) -> Outcome:
        async def ask(heard: StreamedAnswer, seconds: float) -> None:
            model = await asyncio.to_thread(shared, self, self._load)
            given = load("langchain_core.messages", self.extra).convert_to_messages(messages)
            with _traced_by(call):
                if self.json_schema is None:
                    await self._stream(model, given, call, heard)
                else:
                    await self._structured(model, given, call, heard)

        return await stream_answer(self, call, ask)

    async def _stream(self, model: Any, given: Any, call: Call, heard: StreamedAnswer) -> None:
        whole = None
        async for chunk in model.astream(given, config=_config(call), stop=list(self.stop) or None):
            heard.add(str(chunk.text))
            whole = chunk if whole is None else whole + chunk
        if whole is not None:
            self._take(whole, heard)

    async def _structured(self, model: Any, given: Any, call: Call, heard: StreamedAnswer) -> None:
        """A JSON answer, by the means that the class has for it; it comes as a whole."""
        schema = {"title": "answer", "properties": {}, **(self.json_schema or {})}  # LangChain wants both
        try:
            asking = model.with_structured_output(schema, include_raw=True)
        except NotImplementedError:
            raise BackendError(f"{self.target} cannot hold its answer to a JSON schema") from None
        found = await asking.ainvoke(given, config=_config(call))
        self._take(found["raw"], heard)
        if found["parsed"] is not None:
            heard.add(json.dumps(found["parsed"], ensure_ascii=False))
            heard.finish = "stop"
        elif not heard.refused:
            heard.add(str(found["raw"].text))
            if heard.finish != "length":
                raise BackendError(f"{self.name} gave no answer that fits model.json_schema: {found['parsing_error']}")

    def _take(self, message: Any, heard: StreamedAnswer) -> None:
        """Take what a whole message says about itself."""
        about = message.response_metadata or {}
        heard.model = about.get("model_name") or about.get("model") or ""
        ended = next((str(about[name]) for name in _ENDED if about.get(name)), "")
        cut = not ended and self.target.partition(".")[0] in _SAYS_END
        heard.finish = "" if cut else _BY_OPENAI.get(ended, ended or "stop")
        refusal = (message.additional_kwargs or {}).get("refusal")
        heard.refused = bool(refusal) or ended == "refusal"
        heard.refusal_text = str(refusal or "")
        heard.usage = _usage(message.usage_metadata)

    def _load(self) -> Any:
        cls = load_class(self.target, FAMILIES, _bases, "LangChain chat model class", self.extra)
        return cls(**self._arguments(cls))

    def _arguments(self, cls: Any) -> dict[str, Any]:
        """What the class is constructed with: ours where it has such a field, what `params` says before that."""
        known: dict[str, str] = {}
        for name, field in cls.model_fields.items():
            known[name] = name
            known[field.alias or name] = name
        ours: dict[str, Any] = {"model": self.name, "temperature": self.temperature, "max_tokens": self.max_tokens}
        ours |= {"timeout": self.limits.timeout + 1, "stream_usage": True}
        if self.seed is not None:
            ours["seed"] = self.seed
        given = {known.get(name, name) for name in self.params}
        chosen = {name: value for name, value in ours.items() if name in known and known[name] not in given}
        once = {"max_retries": 0} if "max_retries" in known else {}
        return {**chosen, **self.params, **once}


def _bases() -> tuple[type, ...]:
    return (load("langchain_core.language_models", "langchain").BaseChatModel,)


def _config(call: Call) -> Any:
    """The caller's RunnableConfig for this stage of this record: callbacks, tags, metadata."""
    child = getattr(call.host, "child", None)
    return child(call.stage, call.record) if child is not None else call.host


def _traced_by(call: Call) -> AbstractContextManager[Any]:
    """Where nobody of LangChain calls, its tracers by environment stay out: the flow's own tracers tell this run."""
    if call.host is not None:
        return nullcontext()
    off: AbstractContextManager[Any] = load("langsmith.run_helpers", "langsmith").tracing_context(enabled=False)
    return off


def _usage(said: Mapping[str, Any] | None) -> Usage:
    """LangChain's usage_metadata, whose names are ours."""
    if not said:
        return Usage()
    usage = Usage(
        input_tokens=said.get("input_tokens", 0),
        output_tokens=said.get("output_tokens", 0),
        total_tokens=said.get("total_tokens", 0),
    )
    asked = {name: n for name, n in (said.get("input_token_details") or {}).items() if n}
    answered = {name: n for name, n in (said.get("output_token_details") or {}).items() if n}
    if asked:
        usage["input_token_details"] = asked
    if answered:
        usage["output_token_details"] = answered
    return usage
