"""Splits Markdown documents at their headings."""

import re
from collections.abc import Iterator, Sequence

from pydantic import Field

from llmops_flows import Document, Splitter


class Headings(Splitter):
    """One passage per section, with the section's heading in the metadata.

    Attributes:
        level: deepest heading level that starts a passage; 2 for `#` and `##`.
    """

    level: int = Field(default=2, ge=1, le=6)

    def split(self, documents: Sequence[Document]) -> list[Document]:
        return [passage for document in documents for passage in self._sections(document)]

    def _sections(self, document: Document) -> Iterator[Document]:
        heading = re.compile(rf"^#{{1,{self.level}}} (.+)$", re.MULTILINE)
        text = document["page_content"]
        matches = list(heading.finditer(text))
        starts = [0, *(match.start() for match in matches)]
        titles = ["", *(match[1] for match in matches)]
        for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(text)], strict=True)):
            section = text[start:end].strip()
            if section:
                metadata = {**document["metadata"], "heading": titles[number]}
                yield Document(id=f"{document['id']}#section={number}", metadata=metadata, page_content=section)
