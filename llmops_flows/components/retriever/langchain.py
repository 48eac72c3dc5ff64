"""`retriever=langchain`: any LangChain retriever or vector store class."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from pydantic import Field, SerializeAsAny

from llmops_flows.artifacts.lazy_import import load, load_class, target_problems
from llmops_flows.artifacts.resources import shared
from llmops_flows.core.errors import BackendError, FlowError
from llmops_flows.core.fingerprint import target_code
from llmops_flows.core.record import Document
from llmops_flows.core.roles import Embedder, Retriever, Splitter
from llmops_flows.core.stage import Call
from llmops_flows.core.store import Store
from llmops_flows.documents.corpus import Corpus, DocumentSource, document_problems
from llmops_flows.documents.passages import with_score
from llmops_flows.integrations.langchain.embeddings import as_langchain_embeddings
from llmops_flows.integrations.langchain.retriever import as_langchain_document

FAMILIES = ("langchain",)


class LangChainRetriever(Retriever):
    """Any LangChain BaseRetriever or VectorStore class.

    A class with `from_documents` is built from the passages (a vector store also from the embedder); any other class
    is constructed with `params` alone. LangChain's retrievers return no scores, so the score is 1 / rank.

    Attributes:
        target: dotted name of the class, such as `langchain_core.vectorstores.InMemoryVectorStore`.
        params: arguments of the class; keys belong in the environment.
        documents, splitter, embedder: what the index is built from, for classes that build one.
    """

    requires: ClassVar[tuple[str, ...]] = ("langchain_core",)
    extra: ClassVar[str] = "langchain"
    target: str
    params: dict[str, Any] = Field(default_factory=dict)
    documents: DocumentSource | None = None
    splitter: SerializeAsAny[Splitter] | None = None
    embedder: SerializeAsAny[Embedder] | None = None

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        return {**super().fingerprint(include_operational=include_operational), "library": target_code(self.target)}

    def problems(self) -> list[str]:
        problems = target_problems(self.target, FAMILIES)
        return problems + (document_problems(self.documents) if self.documents is not None else [])

    @cached_property
    def corpus(self) -> Corpus:
        assert self.documents is not None
        return Corpus(documents=self.documents, splitter=self.splitter)

    def retrieve(self, questions: Sequence[str], call: Call) -> list[list[Document]]:
        retriever = shared(self, lambda: self._load(call.store))
        try:
            results = retriever.batch(list(questions)) if questions else []
        except FlowError:
            raise
        except Exception as error:
            raise BackendError(f"{self.target} could not be searched: {error}") from error
        return [[_passage(d, 1 / rank) for rank, d in enumerate(documents[: self.k], 1)] for documents in results]

    def _load(self, store: Store | None) -> Any:
        core = load("langchain_core.retrievers", self.extra, type(self).__name__)
        stores = load("langchain_core.vectorstores", self.extra, type(self).__name__)
        bases = (core.BaseRetriever, stores.VectorStore)
        cls: Any = load_class(self.target, FAMILIES, lambda: bases, "LangChain retriever or vector store", self.extra)
        is_store = issubclass(cls, stores.VectorStore)
        arguments = dict(self.params)
        if is_store and self.embedder is not None:
            arguments["embedding"] = as_langchain_embeddings(self.embedder, store=store)
        if "k" in getattr(cls, "model_fields", {}):
            arguments.setdefault("k", self.k)
        if self.documents is not None and hasattr(cls, "from_documents"):
            retriever = cls.from_documents([as_langchain_document(d) for d in self.corpus.passages()], **arguments)
        else:
            retriever = cls(**arguments)
        return retriever.as_retriever(search_kwargs={"k": self.k}) if is_store else retriever


def _passage(document: Any, score: float) -> Document:
    name = document.id or str(document.metadata.get("id") or document.metadata.get("source") or "")
    return with_score(Document(id=name, page_content=document.page_content, metadata=dict(document.metadata)), score)
