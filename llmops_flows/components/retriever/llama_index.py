"""`retriever=llama_index`: LlamaIndex's vector index, or any LlamaIndex retriever class over it."""

from __future__ import annotations

import inspect
import json
import struct
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from llmops_flows.artifacts.artifact import artifact
from llmops_flows.artifacts.lazy_import import SLOW_FORMATS, hide_modules, load, load_class, target_problems
from llmops_flows.artifacts.resources import shared
from llmops_flows.core.errors import BackendError, FlowError
from llmops_flows.core.fingerprint import target_code
from llmops_flows.core.record import Document
from llmops_flows.core.stage import Call
from llmops_flows.core.store import Store
from llmops_flows.documents.passages import RankedPassages
from llmops_flows.integrations.llama_index.embedding import as_llama_embedding
from llmops_flows.integrations.llama_index.tracing import nested_spans

from .vector_retriever import VectorRetriever

FAMILIES = ("llama_index",)
BRIDGES = ("llama_index.core.bridge.langchain",)
"""Excluded imports: LlamaIndex tests for LangChain by importing all of langchain-community."""
VECTOR_RETRIEVER = "llama_index.core.retrievers.VectorIndexRetriever"


class LlamaIndexRetriever(VectorRetriever):
    """Searches a VectorStoreIndex with a LlamaIndex retriever; the index is built once and stored.

    The embedder makes the vectors. A retriever that needs a language model gets LlamaIndex's MockLLM.

    Attributes:
        target: dotted name of a BaseRetriever class. It receives `index`, `nodes`, `embed_model`, `llm` and
            `similarity_top_k` if its constructor has them.
        params: further arguments of the class.
    """

    requires: ClassVar[tuple[str, ...]] = ("llama_index.core",)
    extra: ClassVar[str] = "llama-index"
    target: str = VECTOR_RETRIEVER
    params: dict[str, Any] = Field(default_factory=dict)

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        return {**super().fingerprint(include_operational=include_operational), "library": target_code(self.target)}

    def problems(self) -> list[str]:
        return super().problems() + target_problems(self.target, FAMILIES)

    def nearest(self, questions: Sequence[str], vectors: Sequence[bytes], call: Call) -> list[RankedPassages]:
        index = shared(self.index, lambda: self._index(call), name="llama_index")
        retriever = shared(self, lambda: self._retriever(index), name="retriever")
        bundle = load("llama_index.core.schema", self.extra).QueryBundle
        queries = [bundle(query_str=q, embedding=_floats(v)) for q, v in zip(questions, vectors, strict=True)]
        try:
            with nested_spans(call) if len(queries) == 1 else nullcontext():  # a batch has no single parent
                results = [retriever.retrieve(query)[: self.k] for query in queries]
            return [([_passage(n) for n in nodes], [n.score or 0.0 for n in nodes]) for nodes in results]
        except FlowError:
            raise
        except Exception as error:
            raise BackendError(f"{self.target} could not be searched: {error}") from error

    def _retriever(self, index: Any) -> Any:
        base = load("llama_index.core.base.base_retriever", self.extra).BaseRetriever
        cls: Any = load_class(self.target, FAMILIES, lambda: (base,), "LlamaIndex retriever", self.extra)
        arguments = {
            "index": index,
            "nodes": list(index.docstore.docs.values()),
            "embed_model": as_llama_embedding(self.embedder),
            "llm": load("llama_index.core.llms", self.extra).MockLLM(),
            "similarity_top_k": self.k,
        }
        accepted = inspect.signature(cls.__init__).parameters
        with hide_modules(BRIDGES):
            return cls(**{name: value for name, value in arguments.items() if name in accepted} | self.params)

    def _index(self, call: Call) -> Any:
        core = load("llama_index.core", self.extra, type(self).__name__, without=SLOW_FORMATS)
        folder = artifact(call.home, self.address, lambda f: self._build(core, f, call.store), kind="llama_index")
        storage = core.StorageContext.from_defaults(persist_dir=str(folder))
        with hide_modules(BRIDGES):
            return core.load_index_from_storage(storage, embed_model=as_llama_embedding(self.embedder))

    def _build(self, core: Any, folder: Path, store: Store | None) -> None:
        node = load("llama_index.core.schema", self.extra).TextNode
        passages, vectors = self.index.embedded(store)
        nodes = [
            node(
                id_=p["id"],
                text=p["page_content"],
                metadata={"json": json.dumps(p["metadata"])},
                embedding=_floats(v),
            )
            for p, v in zip(passages, vectors, strict=True)
        ]
        with hide_modules(BRIDGES):
            index = core.VectorStoreIndex(nodes=nodes, embed_model=as_llama_embedding(self.embedder))
        index.storage_context.persist(persist_dir=str(folder))


def _floats(vector: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(vector) // 4}f", vector))


def _passage(result: Any) -> Document:
    node = result.node
    metadata = json.loads(node.metadata["json"]) if "json" in node.metadata else dict(node.metadata)
    return Document(id=node.node_id, page_content=node.get_content(), metadata=metadata)
