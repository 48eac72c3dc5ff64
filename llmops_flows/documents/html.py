"""Reads the visible text of HTML files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

from .formats import TextPage, decode_text

_BLOCKS = "p div li tr h1 h2 h3 h4 h5 h6 section article header footer table ul ol br pre"


def html_pages(data: bytes) -> Iterator[TextPage]:
    """The visible text of an HTML file; its <title> is the title."""
    reader = _VisibleText()
    reader.feed(decode_text(data))
    reader.close()
    text = re.sub(r"[ \t]*\n\s*", "\n", re.sub(r"[ \t]+", " ", "".join(reader.text)))
    title = " ".join("".join(reader.title).split())
    yield TextPage(text, {"title": title} if title else {})


class _VisibleText(HTMLParser):
    hidden = frozenset({"script", "style", "noscript", "template", "svg"})
    blocks = frozenset(_BLOCKS.split())

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text: list[str] = []
        self.title: list[str] = []
        self.open_tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.hidden or tag == "title":
            self.open_tags.append(tag)
        elif tag in self.blocks:
            self.text.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open_tags:
            while self.open_tags.pop() != tag:
                pass
        elif tag in self.blocks:
            self.text.append("\n")
        elif tag in ("td", "th"):
            self.text.append(" ")

    def handle_data(self, data: str) -> None:
        if self.open_tags and self.open_tags[-1] == "title":
            self.title.append(data)
        elif not self.open_tags:
            self.text.append(data)
