"""LangChain's embeddings, splitters and retrievers as ours, and ours as LangChain's (its public suites)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import EmbeddingsIntegrationTests, RetrieversIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from llmops_flows.components.embedder.langchain import LangChainEmbeddings
from llmops_flows.components.retriever.bm25 import Bm25
from llmops_flows.components.retriever.langchain import LangChainRetriever
from llmops_flows.components.splitter.langchain import LangChainSplitter
from llmops_flows.core.errors import ConfigError
from llmops_flows.core.roles import Embedder, Retriever
from llmops_flows.core.stage import Call
from llmops_flows.integrations.langchain.embeddings import langchain_embeddings_class
from llmops_flows.integrations.langchain.retriever import langchain_retriever_class
from llmops_flows.testing.embedders import EmbedderContract, WordVectors
from llmops_flows.testing.retrievers import PAGES, RetrieverContract

FAKE = "langchain_core.embeddings.DeterministicFakeEmbedding"


class TestOurEmbeddingsPassLangChainsUnitSuite(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Any]:
        return langchain_embeddings_class()

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"embedder": WordVectors()}


class TestOurEmbeddingsPassLangChainsSuite(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Any]:
        return langchain_embeddings_class()

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"embedder": WordVectors()}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    for name, text in PAGES.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


class TestOurRetrieverPassesLangChainsSuite(RetrieversIntegrationTests):
    pages: Path

    @pytest.fixture(autouse=True)
    def documents(self, pages: Path) -> None:
        type(self).pages = pages

    @pytest.fixture
    def retriever(self, documents: None) -> BaseRetriever:
        return self.retriever_constructor(**self.retriever_constructor_params)

    @property
    def retriever_constructor(self) -> type[Any]:
        return langchain_retriever_class()

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"retriever": Bm25(documents=self.pages), "call": Call()}

    @property
    def retriever_query_example(self) -> str:
        return "refund shipping violet"


class TestLangChainEmbeddings(EmbedderContract):
    def embedder(self) -> Embedder:
        return LangChainEmbeddings(target=FAKE, params={"size": 32})


class TestInMemoryVectorStore(RetrieverContract):
    def retriever(self, documents: Path, k: int) -> Retriever:
        return LangChainRetriever(
            target="langchain_core.vectorstores.InMemoryVectorStore",
            documents=documents,
            embedder=WordVectors(),
            k=k,
        )


def test_pages_are_split_by_langchain_and_keep_their_ids() -> None:
    splitter = LangChainSplitter(params={"chunk_size": 30, "chunk_overlap": 0})
    found = splitter.split(
        [{"id": "a#page=1", "page_content": "One sentence here.\n\nAnother sentence there.", "metadata": {"page": 1}}]
    )
    assert [d["id"] for d in found] == ["a#page=1&part=1", "a#page=1&part=2"]


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "langchain_core.embeddings.embeddings.asyncio",
        "langchain_core.prompts.PromptTemplate",
    ],
)
def test_what_is_no_embeddings_class_of_langchain_is_refused(target: str) -> None:
    with pytest.raises(ConfigError):
        LangChainEmbeddings(target=target).embed(["x"])


def test_a_library_that_is_not_installed_is_told_beforehand() -> None:
    (problem,) = LangChainEmbeddings(target="langchain_nowhere.Embeddings").problems()
    assert "pip install langchain-nowhere" in problem
