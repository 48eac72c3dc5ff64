"""Passages: what documents are cut into, with ids that name source, page and part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from llmops_flows.core.record import Document


def passage_id(metadata: dict[str, Any], part: int = 0) -> str:
    """`source#page=7&part=2`; what is not known, or is the only one, is left out."""
    known = {**{name: metadata.get(name) for name in ("page", "row", "line")}, "part": part}
    marks = [f"{name}={value}" for name, value in known.items() if value]
    source = str(metadata.get("source", ""))
    return f"{source}#{'&'.join(marks)}" if marks else source


def make_passages(document: Document, texts: Sequence[str]) -> list[Document]:
    """The parts of a document as passages: its metadata and id, numbered from 1 when there are several."""
    texts = [text for text in (t.strip() for t in texts) if text]
    if len(texts) < 2:
        return [_piece(document, text, document["id"], {}) for text in texts]
    joint = "&" if "#" in document["id"] else "#"
    return [_piece(document, text, f"{document['id']}{joint}part={n}", {"part": n}) for n, text in enumerate(texts, 1)]


def _piece(document: Document, text: str, name: str, extra: dict[str, Any]) -> Document:
    return Document(id=name, page_content=text, metadata={**document["metadata"], **extra})


RankedPassages = tuple[list[Document], list[float]]
"""The passages for a question, best first, and the score of each: copies that hold it cost more than a search."""


def with_scores(found: Sequence[RankedPassages]) -> list[list[Document]]:
    """The passages for each question, every one with its score."""
    return [[with_score(*one) for one in zip(passages, scores, strict=True)] for passages, scores in found]


def with_unique_ids(documents: Iterable[Document]) -> list[Document]:
    """Documents with distinct ids: the second of an id is named `id~2`, and so on."""
    seen: dict[str, int] = {}
    found: list[Document] = []
    for document in documents:
        count = seen[document["id"]] = seen.get(document["id"], 0) + 1
        found.append(document if count == 1 else Document({**document, "id": f"{document['id']}~{count}"}))
    return found


def with_score(document: Document, score: float) -> Document:
    """The passage with its score (higher is better)."""
    return {**document, "metadata": {**document["metadata"], "score": round(float(score), 6)}}
