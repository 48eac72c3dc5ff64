"""Passages, the parts of documents that retrievers return; their ids name source, page and part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from llmops_flows.core.record import Document


def passage_id(metadata: dict[str, Any], part: int = 0) -> str:
    """An id such as `source#page=7&part=2`, without the values that are unknown."""
    values = {**{name: metadata.get(name) for name in ("page", "row", "line")}, "part": part}
    fields = [f"{name}={value}" for name, value in values.items() if value]
    source = str(metadata.get("source", ""))
    return f"{source}#{'&'.join(fields)}" if fields else source


def make_passages(document: Document, texts: Sequence[str]) -> list[Document]:
    """The parts of a document as passages with its metadata; ids are numbered from 1 if there are several."""
    texts = [text for text in (t.strip() for t in texts) if text]
    if len(texts) < 2:
        return [_passage(document, text, document["id"], {}) for text in texts]
    separator = "&" if "#" in document["id"] else "#"
    return [
        _passage(document, text, f"{document['id']}{separator}part={n}", {"part": n}) for n, text in enumerate(texts, 1)
    ]


def _passage(document: Document, text: str, name: str, extra: dict[str, Any]) -> Document:
    return Document(id=name, page_content=text, metadata={**document["metadata"], **extra})


RankedPassages = tuple[list[Document], list[float]]
"""The passages for a question, best first, and their scores. `with_scores` copies the passages."""


def with_scores(ranked: Sequence[RankedPassages]) -> list[list[Document]]:
    """The passages for each question, each with its score in the metadata."""
    return [list(map(with_score, passages, scores)) for passages, scores in ranked]


def with_unique_ids(documents: Iterable[Document]) -> list[Document]:
    """The documents with unique ids: the second document with an id gets `id~2`."""
    counts: dict[str, int] = {}
    unique: list[Document] = []
    for document in documents:
        count = counts[document["id"]] = counts.get(document["id"], 0) + 1
        unique.append(document if count == 1 else Document({**document, "id": f"{document['id']}~{count}"}))
    return unique


def with_score(document: Document, score: float) -> Document:
    """A copy of the passage with its score in the metadata; higher is better."""
    return {**document, "metadata": {**document["metadata"], "score": round(float(score), 6)}}
