"""Loading documents from a folder: text, Markdown, HTML, PDF, JSON lines and CSV."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from llmops_flows.core.errors import ConfigError, FlowError
from llmops_flows.core.fingerprint import files
from llmops_flows.core.plural import plural
from llmops_flows.core.record import Document
from llmops_flows.core.redaction import redact
from llmops_flows.core.roles import DocumentLoader
from llmops_flows.core.stage import Positive

from .formats import TextPage, csv_pages, json_pages, markdown_pages, text_pages

log = logging.getLogger("llmops_flows.documents")

Read = Callable[[bytes], Iterable[TextPage]]

READERS: dict[str, Read | str] = {
    ".txt": text_pages,
    ".text": text_pages,
    ".md": markdown_pages,
    ".markdown": markdown_pages,
    ".html": "llmops_flows.documents.html:html_pages",
    ".htm": "llmops_flows.documents.html:html_pages",
    ".jsonl": json_pages,
    ".csv": csv_pages,
    ".pdf": "llmops_flows.documents.pdf:pdf_pages",
}
"""Suffix to what reads such a file: a function, or where one is found that needs an outside library."""


class DocumentFolder(DocumentLoader):
    """Every readable document of a folder (or one file), file by file in the order of their names.

    Hidden files, and links that lead out of the folder, are not followed. Metadata says source (the file's path
    below the folder), page where the file has pages, and what the format knows (title …). Secrets in the text
    are masked here, before anything is indexed, shown to a model or traced.

    Attributes:
        path: file or folder.
        max_bytes: the largest file that is read, in bytes.
        max_files: how many files are read at most.
    """

    path: Path
    max_bytes: Positive = 50_000_000
    max_files: Annotated[int, Field(gt=0, le=1_000_000)] = 100_000

    def load(self) -> Iterator[Document]:
        documents, problems = self.read()
        if problems:
            listed = "\n".join(f"  - {problem}" for problem in problems)
            log.warning("some documents could not be read; the others are used:\n%s", listed)
        yield from documents

    def read(self) -> tuple[list[Document], list[str]]:
        """The documents, and what is wrong with those that could not be read (file, cause)."""
        documents: list[Document] = []
        problems: list[str] = []
        base = self.path if self.path.is_dir() else self.path.parent
        every = files(self.path)
        found = [path for path in every if path.suffix.lower() in READERS]
        problems += _left_out([path for path in every if path.suffix.lower() not in READERS])
        if len(found) > self.max_files:
            beyond = plural(len(found) - self.max_files, "file")
            problems.append(f"{beyond} beyond the first {self.max_files} (max_files)")
        for path in found[: self.max_files]:
            name = path.relative_to(base).as_posix()
            try:
                documents += self._documents(path, name)
            except (OSError, ValueError, FlowError, RecursionError) as error:
                problems.append(f"{name}: {_cause(error)}")
        return documents, problems

    def _documents(self, path: Path, name: str) -> list[Document]:
        size = path.stat().st_size
        if size > self.max_bytes:
            raise ValueError(f"{size} bytes is more than max_bytes={self.max_bytes}")
        found = [_document(page, name) for page in _reader(path.suffix.lower())(path.read_bytes())]
        if not any(document["page_content"] for document in found):
            raise ValueError("there is no text in it")
        return [document for document in found if document["page_content"]]


def _cause(error: Exception) -> str:
    """Why a file could not be read, in one line."""
    if isinstance(error, ConfigError):
        return "; ".join(f"{problem.what}; {problem.hint}".rstrip("; ") for problem in error.problems)
    return getattr(error, "message", "") or str(error)


def unreadable_reason(path: Path) -> str:
    """Why there is no document at a path; empty where there is a file of a kind that is read."""
    kinds = f"read are {', '.join(READERS)}"
    if not path.exists():
        return f"there is no file or folder {str(path)!r}"
    if path.is_file():
        known = path.suffix.lower() in READERS
        return "" if known else f"{str(path)!r} is of a kind that is not read; {kinds}"
    known = any(file.suffix.lower() in READERS for file in path.rglob("*"))
    return "" if known else f"the folder {str(path)!r} holds no file that can be read; {kinds}"


def _left_out(paths: list[Path]) -> list[str]:
    """A line for each kind of files that no reader takes: a document that is silently missing is never found."""
    kinds: dict[str, list[str]] = {}
    for path in paths:
        kinds.setdefault(path.suffix.lower() or "(no suffix)", []).append(path.name)
    return [f"{names[0]}{_others(names)}: files of kind {kind} are not read" for kind, names in sorted(kinds.items())]


def _others(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _document(page: TextPage, source: str) -> Document:
    from .passages import passage_id

    metadata: dict[str, Any] = {**page.metadata, "source": page.metadata.get("source") or source}
    name = page.id or passage_id(metadata)
    return Document(id=name, page_content=redact(page.text.strip()), metadata=metadata)


def _reader(suffix: str) -> Read:
    reader = READERS[suffix]
    if not isinstance(reader, str):
        return reader
    module, _, name = reader.partition(":")
    found: Read = getattr(importlib.import_module(module), name)
    return found
