"""A retriever as a LangChain retriever."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.core.record import Document
from llmops_flows.core.roles import Retriever
from llmops_flows.core.stage import Call
from llmops_flows.core.store import Store


def as_langchain_document(document: Document) -> Any:
    """A passage as a LangChain Document."""
    cls = load("langchain_core.documents", "langchain").Document
    return cls(id=document["id"], page_content=document["page_content"], metadata=dict(document["metadata"]))


def as_langchain_retriever(retriever: Retriever, *, home: Path | None = None, store: Store | None = None) -> Any:
    """The retriever as a LangChain BaseRetriever; `invoke(question, k=3)` changes the number of passages.

    Args:
        retriever: the retriever.
        home, store: where indexes and vectors are stored; None for this process only.
    """
    return langchain_retriever_class()(retriever=retriever, call=Call(home=home, store=store))


@cache
def langchain_retriever_class() -> type:
    """The class that `as_langchain_retriever` returns; defined on first use, since LangChain is slow to import."""
    base = load("langchain_core.retrievers", "langchain").BaseRetriever

    class FlowRetriever(base):  # type: ignore[misc,valid-type]
        """LangChain BaseRetriever over a retriever of llmops_flows."""

        retriever: Any
        call: Any
        k: int | None = None

        def _get_relevant_documents(self, query: str, *, run_manager: Any, k: int | None = None) -> list[Any]:
            count = k or self.k
            retriever = self.retriever if count is None else _with_k(self.retriever, count)
            return [as_langchain_document(d) for d in retriever.retrieve([query], self.call)[0]]

    return FlowRetriever


def _with_k(retriever: Retriever, k: int) -> Retriever:
    fields = {name: getattr(retriever, name) for name in type(retriever).model_fields}
    return type(retriever)(**{**fields, "k": k})
