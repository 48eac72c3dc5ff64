"""What `cache=semantic` hits, and how often wrongly, by threshold: real paraphrases, real support questions, traps.

python -m benchmarks.semantic_cache FOLDER, where FOLDER holds gptcache_mock_data.json (GPTCache, MIT) and
banking77_train_20each.csv (banking77, CC-BY-4.0). Without it the traps alone are measured.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llmops_flows.components.embedder.minilm import MiniLM
from llmops_flows.components.embedder.wordllama import WordLlama
from llmops_flows.core.roles import Embedder
from llmops_flows.text.question_match import same_facts

from .measure import say

THRESHOLDS = (0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99)
TRIED = 3

TRAPS = (
    ("Delete user 17", "Delete user 71"),
    ("Delete user anna", "Delete user bob"),
    ("How do I enable two-factor login?", "How do I disable two-factor login?"),
    ("Is emergency care covered?", "Is emergency care not covered?"),
    ("What is the fee before March?", "What is the fee after March?"),
    ("Can I transfer money from savings to checking?", "Can I transfer money from checking to savings?"),
    ("What does Northwind Standard cover?", "What does Northwind Plus cover?"),
    ("How do I open an account?", "How do I close an account?"),
    ("Who can see my salary?", "Who can see your salary?"),
    ("Convert 100 euros to dollars", "Convert 100 dollars to euros"),
    ("Is aspirin safe for children?", "Is ibuprofen safe for children?"),
    ("What is the capital of austria?", "What is the capital of australia?"),
    ("Does the dog bite the man?", "Does the man bite the dog?"),
    ("What is the minimum deposit?", "What is the maximum deposit?"),
    ("How long is maternity leave?", "How long is paternity leave?"),
    ("What happened in 1999?", "What happened in 1989?"),
    ("Cancel the order of monday", "Cancel the order of tuesday"),
    ("I want to buy shares", "I want to sell shares"),
    ("List all users with access", "List all users without access"),
    ("How do I increase my limit?", "How do I decrease my limit?"),
)
"""Pairs that look alike and must never share an answer."""


def hits(
    scores: Any, asked: Sequence[str], kept: Sequence[str], threshold: float, right: Callable[[int, int], bool]
) -> tuple[int, int]:
    """How many of the asked find a kept one, and how many of those wrongly."""
    found = wrong = 0
    for n, question in enumerate(asked):
        for m in scores[n].argsort()[::-1][:TRIED]:
            if scores[n, m] < threshold:
                break
            if same_facts(question, kept[m]):
                found += 1
                wrong += not right(n, int(m))
                break
    return found, wrong


def upper(wrong: int, found: int) -> float:
    """Upper end of the 95 % Wilson interval of a share."""
    if not found:
        return 1.0
    z, share = 1.96, wrong / found
    middle = share + z * z / (2 * found)
    spread = z * math.sqrt(share * (1 - share) / found + z * z / (4 * found * found))
    return (middle + spread) / (1 + z * z / found)


def measure(name: str, embedder: Embedder, folder: Path | None) -> None:
    import numpy

    left, right = (embedder.embed(side, query=True) for side in zip(*TRAPS, strict=True))
    likeness = (left * right).sum(axis=1)
    checks = [same_facts(one, other) for one, other in TRAPS]
    lines = []
    if folder is not None:
        pairs = json.loads((folder / "gptcache_mock_data.json").read_text(encoding="utf-8"))
        origins, like = [p["origin"] for p in pairs], [p["similar"] for p in pairs]
        with (folder / "banking77_train_20each.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        texts, kinds = [r["text"] for r in rows], [r["category"] for r in rows]
        paired = embedder.embed(like, query=True) @ embedder.embed(origins, query=True).T
        bank = embedder.embed(texts, query=True)
        among = bank @ bank.T
        numpy.fill_diagonal(among, -1)
    for threshold in THRESHOLDS:
        trapped = sum(bool(s >= threshold) and check for s, check in zip(likeness, checks, strict=True))
        blind = int((likeness >= threshold).sum())
        line = f"traps {trapped} of {len(TRAPS)} ({blind} without the check of facts)"
        if folder is not None:
            one, bad = hits(paired, like, origins, threshold, lambda n, m: n == m or origins[n] == origins[m])
            two, worse = hits(among, texts, texts, threshold, lambda n, m: kinds[n] == kinds[m])
            rate = upper(bad + worse, one + two)
            line += (
                f"; paraphrases hit {one / len(like):.1%}, {bad} wrong; support questions hit {two / len(texts):.1%},"
                f" {worse} wrong; false hits at most {rate:.1%}"
            )
        lines.append((f"threshold {threshold:.2f}", line))
    say(f"cache=semantic over {name}", lines, goal="0 wrong at the default, 0.95 over minilm")


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    measure("minilm", MiniLM(max_tokens=64), folder)
    measure("wordllama", WordLlama(), folder)


if __name__ == "__main__":
    main()
