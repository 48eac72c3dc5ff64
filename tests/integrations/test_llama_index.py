"""LlamaIndex's vector index, retrievers and splitters over our passages and vectors."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_flows.artifacts.resources import release_all
from llmops_flows.components.retriever.llama_index import LlamaIndexRetriever
from llmops_flows.components.splitter.llama_index import LlamaIndexSplitter
from llmops_flows.core.errors import ConfigError
from llmops_flows.core.roles import Retriever
from llmops_flows.core.stage import Call
from llmops_flows.testing.embedders import WordVectors
from llmops_flows.testing.retrievers import RetrieverContract


class TestLlamaIndex(RetrieverContract):
    def retriever(self, documents: Path, k: int) -> Retriever:
        return LlamaIndexRetriever(documents=documents, embedder=WordVectors(), k=k)


def test_the_kept_index_is_opened_without_embedding_passages_again(tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "a.txt").write_text("apples and pears")
    call = Call(home=tmp_path / "home")
    first = LlamaIndexRetriever(documents=folder, embedder=WordVectors()).retrieve(["apples"], call)
    release_all()
    WordVectors.batches.clear()
    assert LlamaIndexRetriever(documents=folder, embedder=WordVectors()).retrieve(["apples"], call) == first
    assert WordVectors.batches == [["apples"]]


def test_pages_are_split_by_llama_index_and_keep_their_ids() -> None:
    splitter = LlamaIndexSplitter(
        target="llama_index.core.node_parser.TokenTextSplitter", params={"chunk_size": 20, "chunk_overlap": 0}
    )
    text = "One sentence is here. " * 12
    found = splitter.split([{"id": "a#page=1", "page_content": text, "metadata": {"page": 1}}])
    assert found[0]["id"] == "a#page=1&part=1"
    assert "".join("".join(d["page_content"].split()) for d in found) == "".join(text.split())


def test_what_is_no_retriever_of_llama_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    retriever = LlamaIndexRetriever(
        documents=tmp_path, embedder=WordVectors(), target="llama_index.core.schema.TextNode"
    )
    with pytest.raises(ConfigError, match="is not a LlamaIndex retriever"):
        retriever.retrieve(["x"], Call())
