"""The contract suite for retrievers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from llmops_flows.core.fingerprint import encode
from llmops_flows.core.roles import Retriever
from llmops_flows.core.stage import Call

PAGES = {
    "refunds.md": "# Refunds\n<!-- page 1 -->\nA refund takes five days.\n<!-- page 2 -->\nRefunds need a receipt.\n",
    "shipping.md": "# Shipping\n<!-- page 1 -->\nWe ship parcels on Mondays.\n<!-- page 2 -->\nShipping is free.\n",
    "colors.txt": "Violet is the color of the house.",
}


class RetrieverContract(ABC):
    """The contract of retrievers over a folder of documents. Inherit it, and implement `retriever`."""

    @abstractmethod
    def retriever(self, documents: Path, k: int) -> Retriever:
        """A retriever over the documents of a folder, page by page, that returns `k` passages."""

    @pytest.fixture
    def documents(self, tmp_path: Path) -> Path:
        folder = tmp_path / "documents"
        folder.mkdir()
        for name, text in PAGES.items():
            (folder / name).write_text(text, encoding="utf-8")
        return folder

    @pytest.fixture
    def call(self, tmp_path: Path) -> Call:
        return Call(home=tmp_path / "home")

    def test_the_passage_that_answers_comes_first(self, documents: Path, call: Call) -> None:
        passages = self.retriever(documents, 3).retrieve(["How many days does a refund take?"], call)[0]
        assert passages[0]["id"] == "refunds.md#page=1"
        assert passages[0]["metadata"]["source"] == "refunds.md"
        assert passages[0]["metadata"]["page"] == 1
        assert "five days" in passages[0]["page_content"]

    def test_scores_are_in_descending_order(self, documents: Path, call: Call) -> None:
        passages = self.retriever(documents, 4).retrieve(["Is shipping free on Mondays?"], call)[0]
        scores = [document["metadata"]["score"] for document in passages]
        assert scores == sorted(scores, reverse=True)

    def test_at_most_k_different_passages(self, documents: Path, call: Call) -> None:
        for k in (1, 2, 50):
            names = [d["id"] for d in self.retriever(documents, k).retrieve(["refund shipping violet"], call)[0]]
            assert len(names) == len(set(names)) <= min(k, 5)

    def test_a_batch_gives_the_same_passages_as_single_questions(self, documents: Path, call: Call) -> None:
        questions = ["refund receipt", "shipping on Mondays", "violet house", "refund receipt"]
        retriever = self.retriever(documents, 2)
        together = retriever.retrieve(questions, call)
        assert [[d["id"] for d in passages] for passages in together] == [
            [d["id"] for d in retriever.retrieve([question], call)[0]] for question in questions
        ]

    def test_the_order_is_the_same_without_scores(self, documents: Path, call: Call) -> None:
        retriever, questions = self.retriever(documents, 3), ["refund receipt", "shipping on Mondays"]
        assert [[d["id"] for d in passages] for passages in retriever.ranked(questions, call)] == [
            [d["id"] for d in passages] for passages in retriever.retrieve(questions, call)
        ]

    def test_no_questions_give_no_passages(self, documents: Path, call: Call) -> None:
        assert self.retriever(documents, 2).retrieve([], call) == []

    def test_passages_are_plain_data(self, documents: Path, call: Call) -> None:
        encode(self.retriever(documents, 2).retrieve(["refund"], call))

    def test_a_changed_document_changes_the_identity_and_the_passages(self, documents: Path, call: Call) -> None:
        before = self.retriever(documents, 1)
        known = before.identity
        before.retrieve(["When is the shop open?"], call)
        (documents / "hours.txt").write_text("The shop is open from nine.", encoding="utf-8")
        after = self.retriever(documents, 1)
        assert after.identity != known
        assert after.retrieve(["When is the shop open?"], call)[0][0]["id"] == "hours.txt"

    def test_a_missing_folder_is_a_problem(self, tmp_path: Path) -> None:
        assert any("nowhere" in problem for problem in self.retriever(tmp_path / "nowhere", 1).problems())
