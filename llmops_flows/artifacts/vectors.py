"""Embeds texts, and stores their vectors by content, so that each text is embedded once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmops_flows.core.fingerprint import digest
from llmops_flows.core.roles import Embedder
from llmops_flows.core.store import Entry, Store

BATCH = 1024
"""Texts that are embedded and stored together; an interrupted run loses at most one batch."""
_META = b'{"stage":"embedder"}'


def embed_known(embedder: Embedder, texts: Sequence[str], store: Store | None, *, query: bool = False) -> list[bytes]:
    """The vector of each text: float32, little-endian. Texts whose vectors are in the store are not embedded again.

    Equal texts are embedded once. Raises BackendError when a service fails; finished batches are stored.
    """
    keys = [vector_key(embedder, text, query=query) for text in texts]
    vectors = _known(keys, store)
    unknown = {key: text for key, text in zip(keys, texts, strict=True) if key not in vectors}
    for batch in _batches(list(unknown), BATCH):
        rows = embedder.embed([unknown[key] for key in batch], query=query)
        computed = {key: row.astype("<f4").tobytes() for key, row in zip(batch, rows, strict=True)}
        _put(computed, store)
        vectors.update(computed)
    return [vectors[key] for key in keys]


def vector_key(embedder: Embedder, text: str, *, query: bool = False) -> str:
    """The key of the vector of a text."""
    return digest("vector", embedder.identity, "query" if query else "passage", text)


def _known(keys: Sequence[str], store: Store | None) -> dict[str, bytes]:
    known: dict[str, bytes] = {}
    if store is None:
        return known
    for batch in _batches(list(dict.fromkeys(keys)), BATCH):
        entries = store.entries(batch)
        values = store.values([entry.address for entry in entries.values()])
        known.update({key: values[e.address] for key, e in entries.items() if e.address in values})
    return known


def _put(vectors: dict[str, bytes], store: Store | None) -> None:
    if store is not None:
        addresses = {key: digest(data) for key, data in vectors.items()}
        entries = {key: Entry(address, _META) for key, address in addresses.items()}
        store.put(entries, {addresses[key]: data for key, data in vectors.items()})


def _batches(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))
