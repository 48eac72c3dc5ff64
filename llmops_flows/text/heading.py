"""The text of a document that is searched: its heading and its content."""

from __future__ import annotations

import re
from pathlib import Path

from llmops_flows.core.record import Document

_WORDS = re.compile(r"[\W_]+")


def heading(document: Document) -> str:
    """The words that say what the document as a whole is about: its title, else its file's name."""
    metadata = document["metadata"]
    return str(metadata.get("title") or _WORDS.sub(" ", Path(str(metadata.get("source", ""))).stem)).strip()


def indexed_text(document: Document) -> str:
    """The text that is searched: heading and content, since a passage seldom names what the document is about."""
    return f"{heading(document)}\n{document['page_content']}".strip()
