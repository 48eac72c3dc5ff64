"""A store of llmops_flows as the LLM cache of a LangChain app: `set_llm_cache(store_cache(store))`."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Sequence
from functools import cache
from typing import Any

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.core.fingerprint import address, decode, digest, encode
from llmops_flows.core.lease_owner import new_owner
from llmops_flows.core.redaction import has_secret
from llmops_flows.core.store import Entry, Store
from llmops_flows.engine.answers.resilient_store import ResilientStore

log = logging.getLogger("llmops_flows")
_TEMPERATURE = re.compile(r"""['"]temperature['"]\s*[:,]\s*([0-9.]+)""")
_SEED = re.compile(r"""['"]seed['"]\s*[:,]\s*-?[0-9]""")
_PAUSE = 0.02


def store_cache(
    store: Store, *, tenant: str = "", keep_sampled: bool = False, wait: float = 0.0, model: Any = None
) -> Any:
    """A LangChain BaseCache over a store, shared by threads and processes.

    If the store fails, the model is called; a damaged row is a miss. A cached answer has no usage, and
    `response_metadata["cached"]` is True.

    Args:
        store: a store such as `SQLiteStore(path)`.
        tenant: tenants never share answers.
        keep_sampled: also store sampled answers (temperature above 0 without a seed), as LangChain does.
        wait: seconds that a call waits for an equal call in progress before it calls the model itself.
        model: restricts the cache to this model, by all of its fields. Otherwise LangChain passes only
            `_identifying_params` to a cache, and models that differ in other fields share answers. See `cached`.
    """
    identity = "" if model is None else _identity(model)
    return store_cache_class()(_Answers(store, tenant, identity, keep_sampled, wait))


def cached(model: Any, store: Store, **options: Any) -> Any:
    """The LangChain model with its own cache: `cached(ChatOpenAI(...), store)`. Options: see `store_cache`."""
    return model.model_copy(update={"cache": store_cache(store, model=model, **options)})


class _Answers:
    """Generations by prompt and model, as JSON in a store."""

    def __init__(self, store: Store, tenant: str, model: str, keep_sampled: bool, wait: float) -> None:
        self._wait = wait
        self.store = ResilientStore(store, _warn_once())
        self.scope = digest("langchain", tenant, model)
        self.keep_sampled = keep_sampled
        self._meta = encode({"stage": "langchain", **({"tenant": tenant} if tenant else {})})
        self._leases: dict[str, str] = {}

    def key(self, prompt: str, model: str) -> str:
        entry = self.store.entries([self.scope]).get(self.scope)
        return digest(self.scope, entry.address if entry else "", prompt, model)

    def find(self, key: str) -> list[Any] | None:
        entry = self.store.entries([key]).get(key)
        data = self.store.values([entry.address]).get(entry.address) if entry else None
        return None if data is None else [_generation(item) for item in decode(data)]

    def lookup(self, prompt: str, model: str) -> list[Any] | None:
        key = self.key(prompt, model)
        generations = self.find(key)
        deadline = time.monotonic() + self._wait
        while generations is None and not self._may_call(key, deadline):
            time.sleep(_PAUSE)
            generations = self.find(key)
        return generations

    async def alookup(self, prompt: str, model: str) -> list[Any] | None:
        key = await asyncio.to_thread(self.key, prompt, model)
        generations = await asyncio.to_thread(self.find, key)
        deadline = time.monotonic() + self._wait
        while generations is None and not await asyncio.to_thread(self._may_call, key, deadline):
            await asyncio.sleep(_PAUSE)
            generations = await asyncio.to_thread(self.find, key)
        return generations

    def update(self, prompt: str, model: str, generations: Sequence[Any]) -> None:
        key = self.key(prompt, model)
        try:
            data = encode([_plain(generation) for generation in generations])
        except (TypeError, ValueError):
            return  # not plain data, so not cached
        if not has_secret(data) and (self.keep_sampled or not _is_sampled(model)):
            self.store.put({key: Entry(digest(data), self._meta)}, {digest(data): data})
        if owner := self._leases.pop(key, ""):
            self.store.release([key], owner)

    def clear(self) -> None:
        """Change the keys, so that stored answers are not read again. Their bytes stay in the store."""
        generation = uuid.uuid4().bytes
        self.store.put({self.scope: Entry(digest(generation), self._meta)}, {digest(generation): generation})

    def _may_call(self, key: str, deadline: float) -> bool:
        """Whether to call the model: no equal call is in progress, or the wait is over."""
        return self._wait <= 0 or time.monotonic() >= deadline or self._acquire(key)

    def _acquire(self, key: str) -> bool:
        """Whether this call got the lease of the key."""
        owner = new_owner()
        granted = self.store.lease([key], owner, seconds=self._wait)[key].granted
        if granted:
            self._leases[key] = owner
        return granted


@cache
def store_cache_class() -> type:
    """The class that `store_cache` returns; defined on first use, since LangChain is slow to import."""
    base = load("langchain_core.caches", "langchain").BaseCache

    class StoreCache(base):  # type: ignore[misc,valid-type]
        """LangChain BaseCache over a store of llmops_flows."""

        def __init__(self, answers: _Answers) -> None:
            self._answers = answers

        def lookup(self, prompt: str, llm_string: str) -> list[Any] | None:
            return self._answers.lookup(prompt, llm_string)

        async def alookup(self, prompt: str, llm_string: str) -> list[Any] | None:
            return await self._answers.alookup(prompt, llm_string)

        def update(self, prompt: str, llm_string: str, return_val: Sequence[Any]) -> None:
            self._answers.update(prompt, llm_string, return_val)

        async def aupdate(self, prompt: str, llm_string: str, return_val: Sequence[Any]) -> None:
            await asyncio.to_thread(self.update, prompt, llm_string, return_val)

        def clear(self, **kwargs: Any) -> None:
            self._answers.clear()

        async def aclear(self, **kwargs: Any) -> None:
            await asyncio.to_thread(self.clear)

    return StoreCache


def _plain(generation: Any) -> dict[str, Any]:
    """A generation as plain data."""
    data: dict[str, Any] = {"info": generation.generation_info}
    if hasattr(generation, "message"):
        messages = load("langchain_core.messages", "langchain")
        message = messages.message_chunk_to_message(generation.message)
        [data["message"]] = messages.messages_to_dict([message])
    else:
        data["text"] = generation.text
    return data


def _generation(data: dict[str, Any]) -> Any:
    """The generation of plain data, without its usage."""
    outputs = load("langchain_core.outputs", "langchain")
    if "message" not in data:
        return outputs.Generation(text=data["text"], generation_info=data["info"])
    [message] = load("langchain_core.messages", "langchain").messages_from_dict([data["message"]])
    if hasattr(message, "usage_metadata"):
        message.usage_metadata = None
    metadata = {k: v for k, v in message.response_metadata.items() if k not in ("token_usage", "usage")}
    message.response_metadata = {**metadata, "cached": True}
    return outputs.ChatGeneration(message=message, generation_info=data["info"])


def _is_sampled(model: str) -> bool:
    """Whether a model samples, read from the description that LangChain passes to a cache."""
    temperatures = _TEMPERATURE.findall(model)
    return bool(temperatures) and float(temperatures[-1].strip(".") or 0) > 0 and not _SEED.search(model)


def _identity(model: Any) -> str:
    """Digest of every field of a model except secrets and the cache."""
    cls = type(model)
    fields = {name: _field(getattr(model, name, None)) for name in cls.model_fields if name != "cache"}
    return address({"class": f"{cls.__module__}.{cls.__qualname__}", "fields": fields})


def _field(value: Any) -> Any:
    if hasattr(value, "get_secret_value"):
        return None
    if isinstance(value, dict):
        return {str(k): _field(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_field(v) for v in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _warn_once() -> Any:
    topics: set[str] = set()

    def warn(topic: str, text: str) -> None:
        if topic not in topics:
            topics.add(topic)
            log.warning(text)

    return warn
