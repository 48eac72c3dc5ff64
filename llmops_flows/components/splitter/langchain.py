"""`splitter=recursive`: any LangChain text splitter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field

from llmops_flows.artifacts.lazy_import import load, load_class, target_problems
from llmops_flows.artifacts.resources import shared
from llmops_flows.core.fingerprint import target_code
from llmops_flows.core.record import Document
from llmops_flows.core.roles import Splitter
from llmops_flows.documents.passages import make_passages

FAMILIES = ("langchain",)


class LangChainSplitter(Splitter):
    """Any LangChain TextSplitter.

    Attributes:
        target: dotted name of the class.
        params: arguments of the class.
    """

    requires: ClassVar[tuple[str, ...]] = ("langchain_text_splitters",)
    extra: ClassVar[str] = "pip install langchain-text-splitters"
    target: str = "langchain_text_splitters.RecursiveCharacterTextSplitter"
    params: dict[str, Any] = Field(default_factory=dict)

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        return {**super().fingerprint(include_operational=include_operational), "library": target_code(self.target)}

    def problems(self) -> list[str]:
        return target_problems(self.target, FAMILIES)

    def split(self, documents: Sequence[Document]) -> list[Document]:
        splitter = shared(self, self._load)
        return [
            p for document in documents for p in make_passages(document, splitter.split_text(document["page_content"]))
        ]

    def _load(self) -> Any:
        return load_class(self.target, FAMILIES, self._bases, "LangChain text splitter", self.extra)(**self.params)

    def _bases(self) -> tuple[type, ...]:
        return (load("langchain_text_splitters", self.extra, type(self).__name__).TextSplitter,)
