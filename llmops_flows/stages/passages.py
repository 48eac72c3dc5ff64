"""Passages: what documents are cut into, with ids that name source, page and part."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import SerializeAsAny

from llmops_flows.core.errors import StageError
from llmops_flows.core.fingerprint import content
from llmops_flows.core.record import Document
from llmops_flows.core.stage import Part

from .loaders import Folder, nothing_to_read
from .roles import Loader, Splitter

Documents = Annotated[Path | SerializeAsAny[Loader], "a file or folder, or a loader"]

_WORDS = re.compile(r"[\W_]+")


def passage_id(metadata: dict[str, Any], part: int = 0) -> str:
    """`source#page=7&part=2`; what is not known, or is the only one, is left out."""
    known = {**{name: metadata.get(name) for name in ("page", "row", "line")}, "part": part}
    marks = [f"{name}={value}" for name, value in known.items() if value]
    source = str(metadata.get("source", ""))
    return f"{source}#{'&'.join(marks)}" if marks else source


def pieces(document: Document, texts: Sequence[str]) -> list[Document]:
    """The parts of a document as passages: its metadata and id, numbered from 1 when there are several."""
    texts = [text for text in (t.strip() for t in texts) if text]
    if len(texts) < 2:
        return [_piece(document, text, document["id"], {}) for text in texts]
    joint = "&" if "#" in document["id"] else "#"
    return [
        _piece(document, text, f"{document['id']}{joint}part={n}", {"part": n}) for n, text in enumerate(texts, 1)
    ]


def _piece(document: Document, text: str, name: str, extra: dict[str, Any]) -> Document:
    return Document(id=name, page_content=text, metadata={**document["metadata"], **extra})


def heading(document: Document) -> str:
    """The words that say what the document as a whole is about: its title, else its file's name."""
    metadata = document["metadata"]
    return str(metadata.get("title") or _WORDS.sub(" ", Path(str(metadata.get("source", ""))).stem)).strip()


def indexed(document: Document) -> str:
    """The text that is searched: heading and content, since a passage seldom names what the document is about."""
    return f"{heading(document)}\n{document['page_content']}".strip()


def scored(document: Document, score: float) -> Document:
    """The passage with its score (higher is better)."""
    return {**document, "metadata": {**document["metadata"], "score": round(float(score), 6)}}


Found = tuple[list[Document], list[float]]
"""The passages for a question, best first, and the score of each: copies that hold it cost more than a search."""


def with_scores(found: Sequence[Found]) -> list[list[Document]]:
    """The passages for each question, every one with its score."""
    return [[scored(*one) for one in zip(passages, scores, strict=True)] for passages, scores in found]


def unique(documents: Iterable[Document]) -> list[Document]:
    """Documents with distinct ids: the second of an id is named `id~2`, and so on."""
    seen: dict[str, int] = {}
    found: list[Document] = []
    for document in documents:
        count = seen[document["id"]] = seen.get(document["id"], 0) + 1
        found.append(document if count == 1 else Document({**document, "id": f"{document['id']}~{count}"}))
    return found


class Corpus(Part):
    """The passages of a set of documents; what an index is built from. Its identity is the index's address."""

    documents: Documents
    splitter: SerializeAsAny[Splitter] | None = None

    @cached_property
    def documents_address(self) -> str:
        return content(self.documents) if isinstance(self.documents, Path) else self.documents.identity

    def passages(self) -> list[Document]:
        """Every passage, in order, with distinct ids.

        Raises:
            StageError: the documents changed since this corpus was configured, or none could be read.
        """
        documents = unique(loader(self.documents).load())
        if isinstance(self.documents, Path) and content(self.documents) != self.documents_address:
            raise StageError(f"the documents in {str(self.documents)!r} changed while they were read: run again")
        if not documents:
            raise StageError(f"no document could be read from {_named(self.documents)}")
        return unique(self.splitter.split(documents) if self.splitter else documents)


def loader(documents: Path | Loader) -> Loader:
    """Who reads the documents."""
    return documents if isinstance(documents, Loader) else Folder(path=documents)


def _named(documents: Path | Loader) -> str:
    return repr(str(documents)) if isinstance(documents, Path) else f"a {type(documents).__name__}"


def missing(documents: Path | Loader) -> list[str]:
    """What is wrong with the place of the documents."""
    problem = nothing_to_read(documents) if isinstance(documents, Path) else ""
    return [f"documents: {problem}"] if problem else []
