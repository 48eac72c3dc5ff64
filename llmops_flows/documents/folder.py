"""Loads documents from a folder: text, Markdown, HTML, PDF, JSON Lines and CSV."""

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
from .passages import passage_id

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
"""File suffix to its reader: a function, or the location of one whose module is imported on first use."""


class DocumentFolder(DocumentLoader):
    """Every readable file of a folder, or a single file, in the order of the file names.

    Hidden files and links to files outside the folder are skipped. Metadata has `source` (the path below the folder),
    `page` if the file has pages, and what the format provides, such as `title`. Secrets in the text are masked before
    it is indexed, sent to a model or traced.

    Attributes:
        path: file or folder.
        max_bytes: maximum size of a file; larger files are skipped.
        max_files: maximum number of files; further files are skipped.
    """

    path: Path
    max_bytes: Positive = 50_000_000
    max_files: Annotated[int, Field(gt=0, le=1_000_000)] = 100_000

    def load(self) -> Iterator[Document]:
        documents, problems = self.read()
        if problems:
            listed = "\n".join(f"  - {problem}" for problem in problems)
            log.warning("some documents could not be read and are skipped:\n%s", listed)
        yield from documents

    def read(self) -> tuple[list[Document], list[str]]:
        """The documents, and a line (file, cause) for each file that could not be read."""
        documents: list[Document] = []
        problems: list[str] = []
        base = self.path if self.path.is_dir() else self.path.parent
        paths = files(self.path)
        readable = [path for path in paths if path.suffix.lower() in READERS]
        problems += _unsupported_formats([path for path in paths if path.suffix.lower() not in READERS])
        if len(readable) > self.max_files:
            excess = plural(len(readable) - self.max_files, "file")
            problems.append(f"{excess} beyond the first {self.max_files} (max_files)")
        for path in readable[: self.max_files]:
            name = path.relative_to(base).as_posix()
            try:
                documents += self._documents(path, name)
            except (OSError, ValueError, FlowError, RecursionError) as error:
                problems.append(f"{name}: {_cause(error)}")
        return documents, problems

    def _documents(self, path: Path, name: str) -> list[Document]:
        size = path.stat().st_size
        if size > self.max_bytes:
            raise ValueError(f"its size ({size} bytes) exceeds max_bytes={self.max_bytes}")
        documents = [_document(page, name) for page in _reader(path.suffix.lower())(path.read_bytes())]
        if not any(document["page_content"] for document in documents):
            raise ValueError("it contains no text")
        return [document for document in documents if document["page_content"]]


def _cause(error: Exception) -> str:
    """The cause of an error, in one line."""
    if isinstance(error, ConfigError):
        return "; ".join(f"{problem.what}; {problem.hint}".rstrip("; ") for problem in error.problems)
    return getattr(error, "message", "") or str(error)


def unreadable_reason(path: Path) -> str:
    """Why a path has no readable document; "" if it has one."""
    supported = f"supported formats: {', '.join(READERS)}"
    if not path.exists():
        return f"file or folder not found: {str(path)!r}"
    if path.is_file():
        readable = path.suffix.lower() in READERS
        return "" if readable else f"the format of {str(path)!r} is not supported; {supported}"
    readable = any(file.suffix.lower() in READERS for file in path.rglob("*"))
    return "" if readable else f"the folder {str(path)!r} has no readable file; {supported}"


def _unsupported_formats(paths: list[Path]) -> list[str]:
    """A line for each unsupported file suffix, so that no document is skipped silently."""
    by_suffix: dict[str, list[str]] = {}
    for path in paths:
        by_suffix.setdefault(path.suffix.lower() or "(no suffix)", []).append(path.name)
    return [
        f"{names[0]}{_others(names)}: {suffix} files are not supported" for suffix, names in sorted(by_suffix.items())
    ]


def _others(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _document(page: TextPage, source: str) -> Document:
    metadata: dict[str, Any] = {**page.metadata, "source": page.metadata.get("source") or source}
    name = page.id or passage_id(metadata)
    return Document(id=name, page_content=redact(page.text.strip()), metadata=metadata)


def _reader(suffix: str) -> Read:
    reader = READERS[suffix]
    if not isinstance(reader, str):
        return reader
    module, _, name = reader.partition(":")
    function: Read = getattr(importlib.import_module(module), name)
    return function
