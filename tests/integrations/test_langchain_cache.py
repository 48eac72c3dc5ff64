"""Our store as LangChain's LLM cache: its public suites, and what its own caches get wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from langchain_core.caches import BaseCache
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult, Generation
from langchain_tests.integration_tests.cache import AsyncCacheTestSuite, SyncCacheTestSuite

from llmops_flows.integrations.langchain.cache import cached, store_cache
from llmops_flows.stores.memory_store import MemoryStore
from llmops_flows.stores.sqlite_store import SQLiteStore
from llmops_flows.testing.fakes import FailingStore
from tests.support.store_rows import execute_sql


class TestStoreCache(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self, tmp_path: Path) -> Iterator[BaseCache]:
        store = SQLiteStore(tmp_path / "store.sqlite")
        yield store_cache(store)
        store.close()


class TestStoreCacheAsync(AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self, tmp_path: Path) -> Any:
        store = SQLiteStore(tmp_path / "store.sqlite")
        yield store_cache(store)
        store.close()


class Chat(BaseChatModel):
    """Counts its calls; `tone` is a field that its `_identifying_params` forget, as those of real models do."""

    asked: ClassVar[list[str]] = []
    tone: str = "plain"
    temperature: float = 0.0
    pause: float = 0.0

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.asked.append(str(messages[-1].content))
        time.sleep(self.pause)
        usage: Any = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
        calls: Any = [{"name": "f", "args": {"a": 1}, "id": "1", "type": "tool_call"}]
        message = AIMessage(f"{self.tone} {messages[-1].content}", usage_metadata=usage, tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=message)])

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"temperature": self.temperature}

    @property
    def _llm_type(self) -> str:
        return "chat"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    Chat.asked.clear()
    yield
    set_llm_cache(None)


def test_an_existing_app_gets_our_store_by_one_line(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "store.sqlite")
    set_llm_cache(store_cache(store))
    first, again = Chat().invoke("hello"), Chat().invoke("hello")
    assert Chat.asked == ["hello"]
    assert (again.content, again.tool_calls) == (first.content, first.tool_calls)
    store.close()
    set_llm_cache(store_cache(SQLiteStore(tmp_path / "store.sqlite")))
    assert Chat().invoke("hello").content == first.content
    assert Chat.asked == ["hello"]


def test_a_hit_costs_nothing_and_says_so() -> None:
    set_llm_cache(store_cache(MemoryStore()))
    first, again = Chat().invoke("hello"), Chat().invoke("hello")
    assert first.usage_metadata and not (again.usage_metadata or {}).get("total_tokens")
    assert again.response_metadata["cached"] is True


def test_models_that_differ_in_any_field_share_nothing_when_each_has_its_cache() -> None:
    store = MemoryStore()
    plain, warm = cached(Chat(), store), cached(Chat(tone="warm"), store)
    assert (plain.invoke("hello").content, warm.invoke("hello").content) == ("plain hello", "warm hello")
    assert cached(Chat(tone="warm"), store).invoke("hello").content == "warm hello"
    assert len(Chat.asked) == 2


def test_tenants_share_nothing() -> None:
    store = MemoryStore()
    for tenant in ("a", "b", "a"):
        set_llm_cache(store_cache(store, tenant=tenant))
        Chat().invoke("hello")
    assert len(Chat.asked) == 2


@pytest.mark.parametrize(("keep", "calls"), [(False, 2), (True, 1)])
def test_drawn_answers_are_kept_only_when_asked_for(keep: bool, calls: int) -> None:
    set_llm_cache(store_cache(MemoryStore(), keep_sampled=keep))
    for _ in range(2):
        Chat(temperature=0.7).invoke("hello")
    assert len(Chat.asked) == calls


def test_a_store_in_trouble_costs_no_call(caplog: pytest.LogCaptureFixture) -> None:
    set_llm_cache(store_cache(FailingStore(MemoryStore(), "entries", "values", "put", "lease"), wait=1))
    for _ in range(2):
        assert Chat().invoke("hello").content == "plain hello"
    assert 1 <= caplog.text.count("no space left") <= 2


def test_a_damaged_row_is_a_miss(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "store.sqlite")
    cache = store_cache(store)
    cache.update("p", "m", [Generation(text="x")])
    execute_sql(tmp_path / "store.sqlite", "UPDATE contents SET data = ?", b'[{"info":null,"text":"forged"}]')
    assert cache.lookup("p", "m") is None
    store.close()


def test_where_prompt_and_model_meet_counts() -> None:
    cache = store_cache(MemoryStore())
    cache.update("ab", "c", [Generation(text="x")])
    assert cache.lookup("a", "bc") is None


def test_a_secret_is_never_written() -> None:
    store = MemoryStore()
    cache = store_cache(store)
    cache.update("p", "m", [Generation(text="sk-proj-" + "a1B2c3D4e5F6g7H8")])
    assert cache.lookup("p", "m") is None


def test_equal_calls_at_once_make_one_call() -> None:
    set_llm_cache(store_cache(MemoryStore(), wait=10))
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(Chat(pause=0.3).invoke("hello").content)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Chat.asked == ["hello"]
    assert found == ["plain hello"] * 8


async def test_the_asynchronous_door_is_the_same_cache() -> None:
    set_llm_cache(store_cache(MemoryStore(), wait=1))
    assert (await Chat().ainvoke("hello")).content == Chat().invoke("hello").content
    assert Chat.asked == ["hello"]
