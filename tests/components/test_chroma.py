"""Chroma: the retriever's contract, one writer, vectors that are known are not made again."""

from __future__ import annotations

import time
from pathlib import Path

from llmops_flows.artifacts.resources import release_all
from llmops_flows.components.retriever.chroma import Chroma
from llmops_flows.components.splitter.sentences import SentenceSplitter
from llmops_flows.core.roles import Retriever
from llmops_flows.core.stage import Call
from llmops_flows.stores.memory_store import MemoryStore
from llmops_flows.testing.embedders import WordVectors
from llmops_flows.testing.retrievers import RetrieverContract


class TestChroma(RetrieverContract):
    def retriever(self, documents: Path, k: int) -> Retriever:
        return Chroma(documents=documents, embedder=WordVectors(), k=k)


def folder(tmp_path: Path) -> Path:
    place = tmp_path / "documents"
    place.mkdir()
    for number in range(20):
        text = " ".join(f"Fact {n} of page {number} is number{n * number}." for n in range(40))
        (place / f"{number}.txt").write_text(text)
    return place


def test_a_changed_document_embeds_only_its_own_passages(tmp_path: Path) -> None:
    documents, call = folder(tmp_path), Call(home=tmp_path / "home", store=MemoryStore())
    splitter = SentenceSplitter(size=200)
    WordVectors.batches.clear()
    Chroma(documents=documents, splitter=splitter, embedder=WordVectors()).retrieve(["fact"], call)
    assert sum(map(len, WordVectors.batches)) > 100
    file = documents / "3.txt"
    file.write_text(file.read_text() + " Zebras are striped.")
    WordVectors.batches.clear()
    found = Chroma(documents=documents, splitter=splitter, embedder=WordVectors()).retrieve(["zebras striped"], call)
    assert found[0][0]["metadata"]["source"] == "3.txt"
    changed = [text for batch in WordVectors.batches for text in batch if text != "zebras striped"]
    assert len(changed) == 1


def test_a_second_process_neither_builds_nor_embeds_passages(tmp_path: Path) -> None:
    documents, call = folder(tmp_path), Call(home=tmp_path / "home", store=MemoryStore())
    retriever = Chroma(documents=documents, embedder=WordVectors())
    first = retriever.retrieve(["page 3"], call)
    release_all()
    WordVectors.batches.clear()
    again = Chroma(documents=documents, embedder=WordVectors()).retrieve(["page 3"], Call(home=tmp_path / "home"))
    assert again == first
    assert WordVectors.batches == [["page 3"]]


def test_reading_leaves_the_index_as_it_was_built(tmp_path: Path) -> None:
    documents, call = folder(tmp_path), Call(home=tmp_path / "home", store=MemoryStore())
    Chroma(documents=documents, embedder=WordVectors()).retrieve(["page 3"], call)
    files = [p for p in (tmp_path / "home").rglob("*") if p.is_file()]
    before = {p: p.read_bytes() for p in files}
    release_all()
    Chroma(documents=documents, embedder=WordVectors()).retrieve(["page 5"], call)
    assert {p: p.read_bytes() for p in files} == before


def test_two_hundred_questions_at_once_are_five_times_faster_than_one_by_one(tmp_path: Path) -> None:
    documents, call = folder(tmp_path), Call(home=tmp_path / "home", store=None)
    retriever = Chroma(documents=documents, splitter=SentenceSplitter(size=200), embedder=WordVectors())
    questions = [f"What is fact {n} of page {n % 20}?" for n in range(200)]
    retriever.retrieve(["warm up"], call)
    together = min(_seconds(retriever, [questions], call) for _ in range(3))
    alone = _seconds(retriever, [[question] for question in questions], call)
    assert alone >= 5 * together


def _seconds(retriever: Retriever, batches: list[list[str]], call: Call) -> float:
    started = time.perf_counter()
    for batch in batches:
        retriever.retrieve(batch, call)
    return time.perf_counter() - started
