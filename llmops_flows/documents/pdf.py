"""Reads the pages of PDF files with pypdf."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

from llmops_flows.artifacts.lazy_import import load

from .formats import TextPage


def pdf_pages(data: bytes) -> Iterator[TextPage]:
    """The pages that have text, numbered from 1.

    Raises:
        MissingExtra: pypdf is not installed.
        ValueError: the file is not a readable PDF, or needs a password.
    """
    pypdf = load("pypdf", "pdf", "reading PDF documents")
    logging.getLogger("pypdf").setLevel(logging.ERROR)  # its warnings do not name the file
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise ValueError("the PDF needs a password: save it without one")
        title = str((reader.metadata or {}).get("/Title") or "").strip()
        for number, page in enumerate(reader.pages, 1):
            text = page.extract_text()
            if text.strip():
                yield TextPage(text, {"page": number, **({"title": title} if title else {})})
    except pypdf.errors.PyPdfError as error:
        raise ValueError(f"not a readable PDF: {error}") from error
