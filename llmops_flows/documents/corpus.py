"""The documents of an index and the passages that they are split into."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import SerializeAsAny

from llmops_flows.core.errors import StageError
from llmops_flows.core.fingerprint import content
from llmops_flows.core.record import Document
from llmops_flows.core.roles import DocumentLoader, Splitter
from llmops_flows.core.stage import Part

from .folder import DocumentFolder, unreadable_reason
from .passages import with_unique_ids

DocumentSource = Annotated[Path | SerializeAsAny[DocumentLoader], "a file or folder, or a loader"]


class Corpus(Part):
    """The passages that an index is built from. Its identity is the address of the index."""

    documents: DocumentSource
    splitter: SerializeAsAny[Splitter] | None = None

    @cached_property
    def documents_address(self) -> str:
        return content(self.documents) if isinstance(self.documents, Path) else self.documents.identity

    def passages(self) -> list[Document]:
        """Every passage, in order, with distinct ids.

        Raises:
            StageError: the documents changed while they were read, or none could be read.
        """
        documents = with_unique_ids(document_loader(self.documents).load())
        if isinstance(self.documents, Path) and content(self.documents) != self.documents_address:
            raise StageError(f"the documents in {str(self.documents)!r} changed while they were read: run again")
        if not documents:
            raise StageError(f"no document could be read from {_source_name(self.documents)}")
        return with_unique_ids(self.splitter.split(documents) if self.splitter else documents)


def document_loader(documents: Path | DocumentLoader) -> DocumentLoader:
    """The loader of the documents; a folder loader for a path."""
    return documents if isinstance(documents, DocumentLoader) else DocumentFolder(path=documents)


def _source_name(documents: Path | DocumentLoader) -> str:
    return repr(str(documents)) if isinstance(documents, Path) else f"a {type(documents).__name__}"


def document_problems(documents: Path | DocumentLoader) -> list[str]:
    """The problems of a document source; [] if it can be read."""
    reason = unreadable_reason(documents) if isinstance(documents, Path) else ""
    return [f"documents: {reason}"] if reason else []
