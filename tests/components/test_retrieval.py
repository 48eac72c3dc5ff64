"""Splitting, searching by words, fusing and narrowing."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy  # noqa: F401  # the faster ranking is taken where it is loaded
import pytest

from llmops_flows.artifacts.vectors import embed_known
from llmops_flows.components.reranker.none import NoReranker
from llmops_flows.components.reranker.sentences import SentenceReranker
from llmops_flows.components.retriever.bm25 import Bm25
from llmops_flows.components.retriever.hybrid import HybridRetriever
from llmops_flows.components.splitter.pages import PageSplitter
from llmops_flows.components.splitter.sentences import SentenceSplitter
from llmops_flows.core.errors import StageError
from llmops_flows.core.record import Document
from llmops_flows.core.roles import Retriever
from llmops_flows.core.stage import Call
from llmops_flows.documents.corpus import Corpus
from llmops_flows.stores.memory_store import MemoryStore
from llmops_flows.testing.embedders import WordVectors
from llmops_flows.testing.retrievers import RetrieverContract
from llmops_flows.text.bm25_ranking import Bm25Ranking
from llmops_flows.text.words import content_words, split_sentences


def document(text: str, name: str = "a.md#page=7", **metadata: object) -> Document:
    return Document(id=name, page_content=text, metadata={"source": "a.md", "page": 7, **metadata})


class Fixed(Retriever):
    """Always finds the same."""

    names: tuple[str, ...]

    def retrieve(self, questions: Sequence[str], call: Call) -> list[list[Document]]:
        return [[document(name, name) for name in self.names[: self.k]] for _ in questions]


class TestBm25(RetrieverContract):
    def retriever(self, documents: Path, k: int) -> Retriever:
        return Bm25(documents=documents, k=k)


class TestHybrid(RetrieverContract):
    def retriever(self, documents: Path, k: int) -> Retriever:
        by_words = Bm25(documents=documents, k=20)
        return HybridRetriever(retrievers={"words": by_words, "plain": Bm25(documents=documents, k=20, b=0.0)}, k=k)


def test_plural_case_and_endings_do_not_count() -> None:
    assert content_words("The CLAIMS of policies") == ["claim", "policy"]
    assert content_words("covered services") == content_words("Covering service")


def test_sentences_are_told_apart() -> None:
    assert split_sentences("One is here. Two is $3.50 more! Three?\n\n- four\n- five") == [
        "One is here.",
        "Two is $3.50 more!",
        "Three?",
        "- four",
        "- five",
    ]


def test_passages_keep_whole_sentences_and_name_their_part() -> None:
    text = "First sentence here. Second sentence here. Third sentence here."
    found = SentenceSplitter(size=45, overlap=1).split([document(text)])
    assert [(d["id"], d["page_content"]) for d in found] == [
        ("a.md#page=7&part=1", "First sentence here. Second sentence here."),
        ("a.md#page=7&part=2", "Second sentence here. Third sentence here."),
    ]
    assert found[1]["metadata"] == {"source": "a.md", "page": 7, "part": 2}


def test_a_page_that_fits_keeps_its_id() -> None:
    assert [d["id"] for d in SentenceSplitter(size=100).split([document("Short.")])] == ["a.md#page=7"]


def test_no_passage_is_longer_than_asked_and_none_of_the_text_is_lost() -> None:
    text = " ".join(f"word{n}" for n in range(300)) + ". " + "x" * 130
    found = SentenceSplitter(size=50, overlap=0).split([document(text)])
    assert max(len(d["page_content"]) for d in found) <= 50
    assert "".join("".join(d["page_content"].split()) for d in found) == "".join(text.split())


def test_pages_stay_as_they_are() -> None:
    assert PageSplitter().split([document("x")]) == [document("x")]


def test_documents_with_one_name_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}\n')
    assert [d["id"] for d in Corpus(documents=tmp_path).passages()] == ["a", "a~2"]


def test_documents_that_change_while_they_are_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    corpus = Corpus(documents=tmp_path)
    assert corpus.documents_address
    (tmp_path / "a.txt").write_text("y")
    with pytest.raises(StageError, match="changed while"):
        corpus.passages()


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no document"):
        Corpus(documents=tmp_path).passages()


def test_the_index_does_not_depend_on_k_and_is_built_once(tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "a.txt").write_text("apple")
    call = Call(home=tmp_path / "home")
    for k in (1, 2, 3):
        Bm25(documents=folder, k=k).retrieve(["apple"], call)
    assert len([p for p in (tmp_path / "home/artifacts/bm25").iterdir() if p.is_dir()]) == 1


@pytest.mark.parametrize("count", [1, 5, 50, 1000])
def test_words_are_ranked_alike_with_and_without_numpy_to_the_last_bit(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(count)
    vocabulary = [f"w{n}" for n in range(60)]
    ranking = Bm25Ranking([chance.choices(vocabulary, k=chance.randrange(30)) for _ in range(400)])
    asked = [chance.choices([*vocabulary, "nowhere"], k=chance.randrange(9)) for _ in range(60)]
    by_numpy = ranking.best_batch(asked, count)
    monkeypatch.delitem(sys.modules, "numpy")
    plain = ranking.best_batch(asked, count)
    assert by_numpy == plain
    every = [sorted(((-s, n) for n, s in ranking.scores(question).items()))[:count] for question in asked]
    assert plain == [([n for _, n in one], [-s for s, _ in one]) for one in every]


def test_fusion_prefers_what_several_retrievers_find() -> None:
    hybrid = HybridRetriever(retrievers={"one": Fixed(names=("a", "b", "c")), "two": Fixed(names=("c", "b", "d"))}, k=3)
    found = hybrid.retrieve(["?"], Call())[0]
    assert {d["id"] for d in found[:2]} == {"b", "c"}
    assert found[0]["metadata"]["ranks"] == {"one": 3, "two": 1}


def test_weights_decide() -> None:
    parts = {"one": Fixed(names=("a",)), "two": Fixed(names=("b",))}
    assert HybridRetriever(retrievers=parts, weights={"two": 2.0}, k=1).retrieve(["?"], Call())[0][0]["id"] == "b"


def test_a_weight_for_nobody_is_told() -> None:
    parts = {"one": Fixed(names=("a",)), "two": Fixed(names=("b",))}
    assert HybridRetriever(retrievers=parts, weights={"three": 2.0}).problems() == [
        "weights: unknown retriever 'three'; choose from: one, two"
    ]


def test_the_best_sentences_of_all_passages_are_kept_with_their_source() -> None:
    documents = [
        document("Dental care is not covered. The office opens at nine."),
        document("Vision exams are covered once a year. Glasses are not.", "b.md#page=1"),
    ]
    found = SentenceReranker(count=1).run("How often are vision exams covered?", documents)
    assert [(d["id"], d["page_content"]) for d in found] == [("b.md#page=1", "Vision exams are covered once a year.")]


def test_narrowing_keeps_within_the_characters_asked_for() -> None:
    documents = [document(" ".join(f"Vision plan number {n} is covered." for n in range(50)))]
    found = SentenceReranker(count=50, characters=100).run("vision plan covered", documents)
    assert 1 <= sum(len(d["page_content"]) for d in found) <= 100


def test_nothing_that_bears_on_the_question_leaves_nothing() -> None:
    assert SentenceReranker().run("zebra", [document("Dental care.")]) == []
    assert SentenceReranker().run("zebra", []) == []


def test_none_passes_whole_passages() -> None:
    assert NoReranker().run([document("x")]) == [document("x")]


def test_a_text_is_embedded_once() -> None:
    store, embedder = MemoryStore(), WordVectors()
    embedder.batches.clear()
    first = embed_known(embedder, ["a", "b", "a"], store)
    second = embed_known(embedder, ["c", "b"], store)
    assert embedder.batches == [["a", "b"], ["c"]]
    assert first[0] == first[2]
    assert second[1] == first[1]
    assert len(first[0]) == 4 * embedder.dimensions


def test_questions_and_passages_are_kept_apart() -> None:
    store, embedder = MemoryStore(), WordVectors()
    embedder.batches.clear()
    embed_known(embedder, ["a"], store)
    embed_known(embedder, ["a"], store, query=True)
    assert len(embedder.batches) == 2
