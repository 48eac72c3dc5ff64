"""Our sealed store as the LLM cache of an existing LangChain app: `set_llm_cache(store_cache(path))`."""

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
    """A LangChain BaseCache over a store of ours, shared by threads and processes.

    A store in trouble costs no call, a damaged row is a miss, and a hit says that it cost nothing: its usage is
    gone, `response_metadata["cached"]` is True.

    Args:
        store: where answers are kept, as `SQLiteStore(path)`.
        tenant: answers are never shared between tenants.
        keep_sampled: keep answers that were drawn (temperature above 0, no seed) too; LangChain does.
        wait: for how many seconds a call waits for an equal one that is being answered, instead of asking too. When
            that one fails, those who wait ask themselves once the time is over.
        model: whose answers alone these are: every field of the model counts. LangChain tells a cache only what the
            model's `_identifying_params` say, so that models which differ elsewhere share answers. See `cached`.
    """
    identity = "" if model is None else _identity(model)
    return store_cache_class()(_Answers(store, tenant, identity, keep_sampled, wait))


def cached(model: Any, store: Store, **options: Any) -> Any:
    """The LangChain model with a cache of its own: `cached(ChatOpenAI(...), store)`. Options as of `store_cache`."""
    return model.model_copy(update={"cache": store_cache(store, model=model, **options)})


class _Answers:
    """Generations by prompt and model, as JSON in a store."""

    def __init__(self, store: Store, tenant: str, model: str, keep_sampled: bool, wait: float) -> None:
        self._wait = wait
        self.store = ResilientStore(store, _warn_once())
        self.scope = digest("langchain", tenant, model)
        self.keep_sampled = keep_sampled
        self._meta = encode({"stage": "langchain", **({"tenant": tenant} if tenant else {})})
        self._asking: dict[str, str] = {}

    def key(self, prompt: str, model: str) -> str:
        era = self.store.entries([self.scope]).get(self.scope)
        return digest(self.scope, era.address if era else "", prompt, model)

    def find(self, key: str) -> list[Any] | None:
        entry = self.store.entries([key]).get(key)
        data = self.store.values([entry.address]).get(entry.address) if entry else None
        return None if data is None else [_generation(item) for item in decode(data)]

    def lookup(self, prompt: str, model: str) -> list[Any] | None:
        key = self.key(prompt, model)
        found = self.find(key)
        until = time.monotonic() + self._wait
        while found is None and not self._go(key, until):
            time.sleep(_PAUSE)
            found = self.find(key)
        return found

    async def alookup(self, prompt: str, model: str) -> list[Any] | None:
        key = await asyncio.to_thread(self.key, prompt, model)
        found = await asyncio.to_thread(self.find, key)
        until = time.monotonic() + self._wait
        while found is None and not await asyncio.to_thread(self._go, key, until):
            await asyncio.sleep(_PAUSE)
            found = await asyncio.to_thread(self.find, key)
        return found

    def update(self, prompt: str, model: str, generations: Sequence[Any]) -> None:
        key = self.key(prompt, model)
        try:
            data = encode([_plain(generation) for generation in generations])
        except (TypeError, ValueError):
            return  # an answer that is no plain data is asked for again
        if not has_secret(data) and (self.keep_sampled or not _drawn(model)):
            self.store.put({key: Entry(digest(data), self._meta)}, {digest(data): data})
        if owner := self._asking.pop(key, ""):
            self.store.release([key], owner)

    def clear(self) -> None:
        """Begin a new era: what was kept before is never found again (its bytes stay until the store is removed)."""
        era = uuid.uuid4().bytes
        self.store.put({self.scope: Entry(digest(era), self._meta)}, {digest(era): era})

    def _go(self, key: str, until: float) -> bool:
        """Whether to ask the model: nobody else is at it, or the time to wait is over."""
        return self._wait <= 0 or time.monotonic() >= until or self._ours(key)

    def _ours(self, key: str) -> bool:
        """Whether nobody else is asking this now."""
        owner = new_owner()
        mine = self.store.lease([key], owner, seconds=self._wait)[key].granted
        if mine:
            self._asking[key] = owner
        return mine


@cache
def store_cache_class() -> type:
    """The class of what `store_cache` gives; made late, since LangChain is slow to load."""
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
    kept: dict[str, Any] = {"info": generation.generation_info}
    if hasattr(generation, "message"):
        messages = load("langchain_core.messages", "langchain")
        message = messages.message_chunk_to_message(generation.message)
        [kept["message"]] = messages.messages_to_dict([message])
    else:
        kept["text"] = generation.text
    return kept


def _generation(kept: dict[str, Any]) -> Any:
    """What `_plain` was given, but that it cost nothing this time."""
    outputs = load("langchain_core.outputs", "langchain")
    if "message" not in kept:
        return outputs.Generation(text=kept["text"], generation_info=kept["info"])
    [message] = load("langchain_core.messages", "langchain").messages_from_dict([kept["message"]])
    if hasattr(message, "usage_metadata"):
        message.usage_metadata = None
    metadata = {k: v for k, v in message.response_metadata.items() if k not in ("token_usage", "usage")}
    message.response_metadata = {**metadata, "cached": True}
    return outputs.ChatGeneration(message=message, generation_info=kept["info"])


def _drawn(model: str) -> bool:
    """Whether a model, as LangChain describes it to a cache, draws its answers at random."""
    found = _TEMPERATURE.findall(model)
    return bool(found) and float(found[-1].strip(".") or 0) > 0 and not _SEED.search(model)


def _identity(model: Any) -> str:
    """Address of every field of a model but its secrets and its cache."""
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
    told: set[str] = set()

    def warn(topic: str, text: str) -> None:
        if topic not in told:
            told.add(topic)
            log.warning(text)

    return warn
