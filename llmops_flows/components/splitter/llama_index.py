"""`splitter=llama_index`: any LlamaIndex node parser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field

from llmops_flows.artifacts.lazy_import import SLOW_FORMATS, load, load_class, target_problems
from llmops_flows.artifacts.resources import shared
from llmops_flows.core.fingerprint import target_code
from llmops_flows.core.record import Document
from llmops_flows.core.roles import Splitter
from llmops_flows.documents.passages import make_passages

FAMILIES = ("llama_index",)


class LlamaIndexSplitter(Splitter):
    """Any LlamaIndex NodeParser that needs no model.

    Attributes:
        target: dotted name of the class.
        params: arguments of the class.
    """

    requires: ClassVar[tuple[str, ...]] = ("llama_index.core",)
    extra: ClassVar[str] = "llama-index"
    target: str = "llama_index.core.node_parser.SentenceSplitter"
    params: dict[str, Any] = Field(default_factory=dict)

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        return {**super().fingerprint(include_operational=include_operational), "library": target_code(self.target)}

    def problems(self) -> list[str]:
        return target_problems(self.target, FAMILIES)

    def split(self, documents: Sequence[Document]) -> list[Document]:
        parser = shared(self, self._load)
        schema = load("llama_index.core.schema", self.extra, type(self).__name__)
        passages: list[Document] = []
        for document in documents:
            nodes = parser.get_nodes_from_documents([schema.Document(text=document["page_content"])])
            passages += make_passages(document, [node.get_content() for node in nodes])
        return passages

    def _load(self) -> Any:
        load("llama_index.core", self.extra, type(self).__name__, without=SLOW_FORMATS)
        return load_class(self.target, FAMILIES, self._bases, "LlamaIndex node parser", self.extra)(**self.params)

    def _bases(self) -> tuple[type, ...]:
        return (load("llama_index.core.node_parser", self.extra, type(self).__name__).NodeParser,)
