"""The searched text of a document: its heading and its content."""

from __future__ import annotations

import re
from pathlib import Path

from llmops_flows.core.record import Document

_WORDS = re.compile(r"[\W_]+")


def heading(document: Document) -> str:
    """The title of the document, or the words of its file name."""
    metadata = document["metadata"]
    return str(metadata.get("title") or _WORDS.sub(" ", Path(str(metadata.get("source", ""))).stem)).strip()


def indexed_text(document: Document) -> str:
    """Heading and content, because a passage often does not name the subject of its document."""
    return f"{heading(document)}\n{document['page_content']}".strip()
