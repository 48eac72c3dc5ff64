"""Our models as LangChain chat models: LangChain's own standard tests, and what they do not ask."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from pydantic import BaseModel

from llmops_flows import BackendError, ConfigError, Runner
from llmops_flows.components.model.echo import Echo
from llmops_flows.components.model.extractive import Extractive
from llmops_flows.components.model.smollm2 import SmolLM2
from llmops_flows.integrations.langchain.chat_model import ChatFlowModel, as_langchain_chat_model
from llmops_flows.stores.memory_store import MemoryStore
from tests.components.test_langchain_models import Runs
from tests.components.test_openai import said
from tests.support.http_server import StubResponse, StubServer

SMALL = SmolLM2(threads=1, max_tokens=16, context=1024, slots=2, stop=())


@pytest.fixture(scope="module", autouse=True)
def held() -> None:
    """Keeps one loaded server for the module."""
    SMALL.engine.running()


class Embedded:
    """The embedded model. It has no tools and sees no images; nor can so small a model end a free JSON string."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatFlowModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"stage": SMALL}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        # The suite's own, but for the length of an answer: 100 tokens would take the time of 16 without telling more.
        return {"temperature": 0, "max_tokens": 16, "timeout": 60, "stop": [], "max_retries": 2, "api_key": "test"}

    @property
    def model_override_value(self) -> str:
        return "another-name"

    @property
    def has_structured_output(self) -> bool:
        return False


class TestUnit(Embedded, ChatModelUnitTests):
    """LangChain's unit tests."""

    @property
    def has_structured_output(self) -> bool:
        return True


class TestIntegration(Embedded, ChatModelIntegrationTests):
    """LangChain's integration tests."""


class Reply_(BaseModel):
    """A short reply."""

    agreed: bool


@pytest.mark.parametrize("schema", [Reply_, Reply_.model_json_schema()], ids=["class", "schema"])
def test_a_structured_answer_follows_its_schema(schema: Any) -> None:
    asked = ChatFlowModel(stage=SMALL, max_tokens=60).with_structured_output(schema)
    found = asked.invoke("Do you agree?")
    assert isinstance(found.agreed if isinstance(found, Reply_) else found["agreed"], bool)


def test_a_structured_answer_can_come_with_the_message_and_the_error() -> None:
    model = as_langchain_chat_model(Echo())
    found: Any = model.with_structured_output(Reply_, include_raw=True).invoke("no json at all")
    assert (found["raw"].content, found["parsed"]) == ("no json at all", None)
    assert found["parsing_error"] is not None
    good: Any = model.with_structured_output(Reply_, include_raw=True).invoke('{"agreed": true}')
    assert (good["parsed"], good["parsing_error"]) == (Reply_(agreed=True), None)


def test_changes_of_one_call_change_no_other() -> None:
    model = as_langchain_chat_model(SMALL)
    before = model.invoke("Say hello").content
    assert model.bind(max_tokens=2).invoke("Say hello").response_metadata["finish_reason"] == "length"
    assert len(str(model.invoke("Say hello", max_tokens=2).content)) < len(str(before))
    assert model.invoke("Say hello").content == before
    assert model.variant(max_tokens=2).identity != model.variant().identity


def test_with_a_store_an_answer_is_made_once_and_streamed_as_a_whole_afterwards() -> None:
    with StubServer(said("Paris", ".")) as server, Runner(store=MemoryStore()) as runner:
        from llmops_flows.components.model.openai_compatible import OpenAICompatible

        asked = as_langchain_chat_model(OpenAICompatible(name="m", base_url=f"{server.url}/v1"), runner)
        assert asked.invoke("capital?").content == "Paris."
        assert [str(chunk.content) for chunk in asked.stream("capital?") if chunk.content] == ["Paris."]
        assert len(server.requests) == 1


def test_it_is_tried_again_by_the_gate_and_its_error_is_ours() -> None:
    from llmops_flows.components.model.openai_compatible import OpenAICompatible

    with StubServer(StubResponse(500, {}, {"error": {"message": "oops"}}), said("Paris")) as server:
        asked = OpenAICompatible(name="tried-again", base_url=f"{server.url}/v1")
        assert as_langchain_chat_model(asked).invoke("capital?").content == "Paris"
        server.reply(StubResponse(400, {}, {"error": {"message": "bad"}}))
        with pytest.raises(BackendError, match="answered 400"):
            as_langchain_chat_model(asked).invoke("capital?")
        with pytest.raises(BackendError, match="answered 400"):
            list(as_langchain_chat_model(asked).stream("capital?"))


def test_leaving_a_stream_early_stops_the_model() -> None:
    with StubServer(said(*"abcdefghij" * 20, every=0.02)) as server:
        from llmops_flows.components.model.openai_compatible import OpenAICompatible

        stream = as_langchain_chat_model(OpenAICompatible(name="left", base_url=f"{server.url}/v1")).stream("x")
        assert next(iter(stream)).content == "a"
        stream.close()  # type: ignore[attr-defined]
        waited = threading.Event()
        for _ in range(100):
            if server.disconnects:
                break
            waited.wait(0.02)
        assert server.disconnects == 1


def test_a_trace_says_which_model_answered_and_what_it_took() -> None:
    runs = Runs()
    as_langchain_chat_model(SMALL).invoke("Say hello", {"callbacks": [runs]})
    [run] = runs.roots
    about = run.extra["metadata"]
    assert (about["ls_provider"], about["ls_model_name"], about["ls_max_tokens"]) == ("llamacpp", "smollm2", 16)
    usage = run.outputs["generations"][0][0]["message"]["kwargs"]["usage_metadata"]
    assert usage["output_tokens"] > 0


def test_langchains_own_cache_tells_our_models_apart() -> None:
    one, other = as_langchain_chat_model(SMALL), as_langchain_chat_model(SmolLM2(seed=3))
    assert one._get_llm_string() != other._get_llm_string()


def test_messages_travel_as_they_are() -> None:
    found = as_langchain_chat_model(Echo()).invoke([HumanMessage("first"), HumanMessage("last", name="ann")])
    assert found.content == "last"


def test_a_model_that_reads_documents_is_no_chat_model() -> None:
    with pytest.raises(ConfigError, match="it reads 'question', 'documents'"):
        as_langchain_chat_model(Extractive())


def test_a_key_given_to_it_is_in_no_dump() -> None:
    model = ChatFlowModel(stage=Echo(), api_key="sk-proj-0123456789abcdefghij")
    assert "sk-proj-0123456789" not in json.dumps(model.model_dump(mode="json")) + repr(model) + str(model)
