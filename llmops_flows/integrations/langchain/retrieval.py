"""Retrieval across LangChain's door: any retriever or vector store as ours, any of ours as a BaseRetriever."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, SerializeAsAny

from llmops_flows.core.errors import BackendError, FlowError
from llmops_flows.core.fingerprint import target_code
from llmops_flows.core.record import Document
from llmops_flows.core.resources import shared
from llmops_flows.core.stage import Call
from llmops_flows.core.store import Store
from llmops_flows.integrations.lazy import load, named, target_faults
from llmops_flows.stages.passages import Corpus, Documents, missing, scored
from llmops_flows.stages.roles import Embedder, Retriever, Splitter

from .embeddings import as_langchain_embeddings

FAMILIES = ("langchain",)


class LangChainRetriever(Retriever):
    """Any LangChain BaseRetriever or VectorStore class.

    A class with `from_documents` is built from the documents' passages (a vector store with the embedder too), any
    other is constructed with `params` alone. LangChain's retrievers give no scores: the score is 1 / rank.

    Attributes:
        target: dotted name of the class, as `langchain_core.vectorstores.InMemoryVectorStore`.
        params: what it is constructed with (plain data; keys belong in the environment).
        documents, splitter, embedder: what the index is built from, for classes that build one.
    """

    requires: ClassVar[tuple[str, ...]] = ("langchain_core",)
    extra: ClassVar[str] = "langchain"
    target: str
    params: dict[str, Any] = Field(default_factory=dict)
    documents: Documents | None = None
    splitter: SerializeAsAny[Splitter] | None = None
    embedder: SerializeAsAny[Embedder] | None = None

    def fingerprint(self, *, whole: bool = False) -> dict[str, Any]:
        return {**super().fingerprint(whole=whole), "library": target_code(self.target)}

    def faults(self) -> list[str]:
        found = target_faults(self.target, FAMILIES)
        return found + (missing(self.documents) if self.documents is not None else [])

    @cached_property
    def corpus(self) -> Corpus:
        assert self.documents is not None
        return Corpus(documents=self.documents, splitter=self.splitter)

    def retrieve(self, questions: Sequence[str], call: Call) -> list[list[Document]]:
        retriever = shared(self, lambda: self._load(call.store))
        try:
            found = retriever.batch(list(questions)) if questions else []
        except FlowError:
            raise
        except Exception as error:
            raise BackendError(f"{self.target} could not be searched: {error}") from error
        return [[_ours(d, 1 / rank) for rank, d in enumerate(documents[: self.k], 1)] for documents in found]

    def _load(self, store: Store | None) -> Any:
        core = load("langchain_core.retrievers", self.extra, type(self).__name__)
        stores = load("langchain_core.vectorstores", self.extra, type(self).__name__)
        bases = (core.BaseRetriever, stores.VectorStore)
        cls: Any = named(self.target, FAMILIES, lambda: bases, "LangChain retriever or vector store", self.extra)
        is_store = issubclass(cls, stores.VectorStore)
        given = dict(self.params)
        if is_store and self.embedder is not None:
            given["embedding"] = as_langchain_embeddings(self.embedder, store=store)
        if "k" in getattr(cls, "model_fields", {}):
            given.setdefault("k", self.k)
        if self.documents is not None and hasattr(cls, "from_documents"):
            built = cls.from_documents([as_langchain_document(d) for d in self.corpus.passages()], **given)
        else:
            built = cls(**given)
        return built.as_retriever(search_kwargs={"k": self.k}) if is_store else built


def as_langchain_document(document: Document) -> Any:
    """A passage as a LangChain Document, without loss."""
    cls = load("langchain_core.documents", "langchain").Document
    return cls(id=document["id"], page_content=document["page_content"], metadata=dict(document["metadata"]))


def _ours(document: Any, score: float) -> Document:
    name = document.id or str(document.metadata.get("id") or document.metadata.get("source") or "")
    return scored(Document(id=name, page_content=document.page_content, metadata=dict(document.metadata)), score)


def as_langchain_retriever(retriever: Retriever, *, home: Path | None = None, store: Store | None = None) -> Any:
    """The retriever as a LangChain BaseRetriever; `invoke(question, k=3)` asks for another number of passages.

    Args:
        retriever: any of ours.
        home, store: where indexes and vectors are kept; None: nowhere beyond the process.
    """
    return langchain_retriever_class()(retriever=retriever, call=Call(home=home, store=store))


@cache
def langchain_retriever_class() -> type:
    """The class of what `as_langchain_retriever` gives; made late, since LangChain is slow to load."""
    base = load("langchain_core.retrievers", "langchain").BaseRetriever

    class FlowRetriever(base):  # type: ignore[misc,valid-type]
        """LangChain BaseRetriever over a retriever of llmops_flows."""

        retriever: Any
        call: Any
        k: int | None = None

        def _get_relevant_documents(self, query: str, *, run_manager: Any, k: int | None = None) -> list[Any]:
            wanted = k or self.k
            ours = self.retriever if wanted is None else _with_k(self.retriever, wanted)
            return [as_langchain_document(d) for d in ours.retrieve([query], self.call)[0]]

    return FlowRetriever


def _with_k(retriever: Retriever, k: int) -> Retriever:
    fields = {name: getattr(retriever, name) for name in type(retriever).model_fields}
    return type(retriever)(**{**fields, "k": k})
