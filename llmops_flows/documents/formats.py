"""Readers of text formats: the bytes of a file to its pages of plain text."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

TEXT_KEYS = ("page_content", "text", "content", "body")
_PAGE = re.compile(r"^[ \t]*<!--\s*page\s+(\d+)\s*-->[ \t]*$", re.MULTILINE | re.IGNORECASE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_TITLE = re.compile(r"^#[ \t]+(\S.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class TextPage:
    """A page of a file: its text, its metadata, and its id if the file names one."""

    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""


def decode_text(data: bytes) -> str:
    """The text of a UTF-8 file, or of a UTF-16 file with a byte order mark. Raises ValueError for anything else."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not text in UTF-8 (byte {error.start}): save it as UTF-8") from error
    if "\x00" in text:
        raise ValueError("not text: it contains NUL bytes")
    return text


def text_pages(data: bytes) -> Iterator[TextPage]:
    """The pages of plain text; a form feed starts a page."""
    parts = decode_text(data).split("\f")
    for number, text in enumerate(parts, 1):
        yield TextPage(text, {"page": number} if len(parts) > 1 else {})


def markdown_pages(data: bytes) -> Iterator[TextPage]:
    """The pages of Markdown; a line `<!-- page 7 -->` starts page 7. The first heading of level 1 is the title."""
    text = decode_text(data)
    title = _TITLE.search(text)
    metadata: dict[str, Any] = {"title": title[1].strip()} if title else {}
    first, *rest = _PAGE.split(text)
    if not rest:
        yield TextPage(_COMMENT.sub("", text), metadata)
        return
    front = _COMMENT.sub("", first).strip()
    if title and front == title[0].strip():
        front = ""
    if front:
        yield TextPage(front, metadata)
    for number, page in zip(rest[::2], rest[1::2], strict=True):
        yield TextPage(_COMMENT.sub("", page), {**metadata, "page": int(number)})


def json_pages(data: bytes) -> Iterator[TextPage]:
    """A document per line: its text under `text`, `page_content`, `content` or `body`, the rest as metadata."""
    for number, line in enumerate(decode_text(data).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is not a JSON object")
        yield _row(row, number, "line")


def csv_pages(data: bytes) -> Iterator[TextPage]:
    """A document per row: its text column, or all columns as `name: value` if it has none."""
    rows = csv.DictReader(io.StringIO(decode_text(data), newline=""), strict=True)
    try:
        for number, row in enumerate(rows, 1):
            yield _row({k: v for k, v in row.items() if k is not None and v is not None}, number, "row")
    except csv.Error as error:
        raise ValueError(f"row {rows.line_num} is not CSV: {error}") from error


def _row(row: dict[str, Any], number: int, unit: str) -> TextPage:
    key = next((key for key in TEXT_KEYS if isinstance(row.get(key), str)), "")
    text = row.pop(key) if key else "\n".join(f"{name}: {value}" for name, value in row.items())
    extra = row.pop("metadata", None) if key else None
    metadata = {**(row if key else {}), **(extra if isinstance(extra, dict) else {})}
    name = metadata.pop("id", None)
    return TextPage(text, {unit: number, **metadata}, str(name) if name else "")
