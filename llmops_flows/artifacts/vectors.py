"""Vectors of texts, kept by content: a text that was embedded once is never embedded again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmops_flows.core.fingerprint import digest
from llmops_flows.core.roles import Embedder
from llmops_flows.core.store import Entry, Store

BATCH = 1024
"""Texts that are embedded and kept in one go; what an interrupted run had done is not lost beyond that."""
_META = b'{"stage":"embedder"}'


def embed_known(embedder: Embedder, texts: Sequence[str], store: Store | None, *, query: bool = False) -> list[bytes]:
    """The vector of each text: float32, little-endian. Only texts that `store` does not know are embedded.

    Equal texts are embedded once. Without a store, every text is. Raises BackendError when a service fails; what
    was embedded until then is kept.
    """
    keys = [vector_key(embedder, text, query=query) for text in texts]
    found = _known(keys, store)
    unknown = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
    for batch in _batches(list(unknown), BATCH):
        rows = embedder.embed([unknown[key] for key in batch], query=query)
        made = {key: row.astype("<f4").tobytes() for key, row in zip(batch, rows, strict=True)}
        _keep(made, store)
        found.update(made)
    return [found[key] for key in keys]


def vector_key(embedder: Embedder, text: str, *, query: bool = False) -> str:
    """Under which key the vector of a text is kept."""
    return digest("vector", embedder.identity, "query" if query else "passage", text)


def _known(keys: Sequence[str], store: Store | None) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    if store is None:
        return found
    for batch in _batches(list(dict.fromkeys(keys)), BATCH):
        entries = store.entries(batch)
        values = store.values([entry.address for entry in entries.values()])
        found.update({key: values[e.address] for key, e in entries.items() if e.address in values})
    return found


def _keep(vectors: dict[str, bytes], store: Store | None) -> None:
    if store is not None:
        addresses = {key: digest(data) for key, data in vectors.items()}
        entries = {key: Entry(address, _META) for key, address in addresses.items()}
        store.put(entries, {addresses[key]: data for key, data in vectors.items()})


def _batches(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))
