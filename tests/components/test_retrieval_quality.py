"""How well the demo's questions find their gold pages with what is shipped as default."""

from __future__ import annotations

import json
import re
from pathlib import Path

from llmops_flows.components.embedder.wordllama import WordLlama
from llmops_flows.components.retriever.bm25 import Bm25
from llmops_flows.components.retriever.chroma import Chroma
from llmops_flows.components.retriever.hybrid import HybridRetriever
from llmops_flows.components.splitter.sentences import SentenceSplitter
from llmops_flows.core.record import Document
from llmops_flows.core.stage import Call

DEMO = Path(__file__).parents[2] / "flows" / "rag_support"


def _page(passage: Document) -> str:
    """The page that a passage is from: its id without the part."""
    return re.sub(r"[&#]part=\d+$", "", passage["id"])


def test_hybrid_finds_a_gold_page_among_five_for_85_of_100_questions(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (DEMO / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    asked = [row for row in rows if row["answerable"]]
    given = {"documents": DEMO / "documents", "splitter": SentenceSplitter(size=1200, overlap=0), "k": 50}
    parts = {"words": Bm25(**given), "meaning": Chroma(**given, embedder=WordLlama())}
    hybrid = HybridRetriever(retrievers=parts, weights={"words": 1.0, "meaning": 0.5}, k=5)
    found = hybrid.retrieve([row["question"] for row in asked], Call(home=tmp_path))
    hits = [bool({_page(d) for d in passages} & set(row["gold"])) for row, passages in zip(asked, found, strict=True)]
    assert len(hits) == 149
    assert sum(hits) / len(hits) >= 0.85
