"""Hits and false hits of `cache=semantic` by threshold: real paraphrases, real support questions, traps.

python -m benchmarks.semantic_cache FOLDER, where FOLDER holds gptcache_mock_data.json (GPTCache, MIT) and
banking77_train_20each.csv (banking77, CC-BY-4.0). Without FOLDER, only the traps are measured.
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

from .measure import print_result

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
"""Pairs of similar questions that must not share an answer."""


def hits(
    scores: Any, questions: Sequence[str], stored: Sequence[str], threshold: float, right: Callable[[int, int], bool]
) -> tuple[int, int]:
    """The number of questions that hit a stored one, and the number of false hits."""
    hit = wrong = 0
    for n, question in enumerate(questions):
        for m in scores[n].argsort()[::-1][:TRIED]:
            if scores[n, m] < threshold:
                break
            if same_facts(question, stored[m]):
                hit += 1
                wrong += not right(n, int(m))
                break
    return hit, wrong


def upper(wrong: int, count: int) -> float:
    """The upper bound of the 95 % Wilson interval of a share."""
    if not count:
        return 1.0
    z, share = 1.96, wrong / count
    middle = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return (middle + spread) / (1 + z * z / count)


def measure(name: str, embedder: Embedder, folder: Path | None) -> None:
    import numpy

    left, right = (embedder.embed(side, query=True) for side in zip(*TRAPS, strict=True))
    similarities = (left * right).sum(axis=1)
    checks = [same_facts(first, second) for first, second in TRAPS]
    lines = []
    if folder is not None:
        pairs = json.loads((folder / "gptcache_mock_data.json").read_text(encoding="utf-8"))
        origins, paraphrases = [p["origin"] for p in pairs], [p["similar"] for p in pairs]
        with (folder / "banking77_train_20each.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        texts, kinds = [r["text"] for r in rows], [r["category"] for r in rows]
        paired = embedder.embed(paraphrases, query=True) @ embedder.embed(origins, query=True).T
        bank = embedder.embed(texts, query=True)
        among = bank @ bank.T
        numpy.fill_diagonal(among, -1)
    for threshold in THRESHOLDS:
        trap_hits = sum(bool(s >= threshold) and check for s, check in zip(similarities, checks, strict=True))
        unchecked = int((similarities >= threshold).sum())
        line = f"traps {trap_hits} of {len(TRAPS)} ({unchecked} without the check of facts)"
        if folder is not None:
            paraphrase_hits, wrong = hits(
                paired, paraphrases, origins, threshold, lambda n, m: n == m or origins[n] == origins[m]
            )
            support_hits, wrong_support = hits(among, texts, texts, threshold, lambda n, m: kinds[n] == kinds[m])
            rate = upper(wrong + wrong_support, paraphrase_hits + support_hits)
            line += (
                f"; paraphrases hit {paraphrase_hits / len(paraphrases):.1%}, {wrong} wrong;"
                f" support questions hit {support_hits / len(texts):.1%}, {wrong_support} wrong;"
                f" false hits at most {rate:.1%}"
            )
        lines.append((f"threshold {threshold:.2f}", line))
    print_result(f"cache=semantic over {name}", lines, goal="0 wrong at the default, 0.95 over minilm")


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    measure("minilm", MiniLM(max_tokens=64), folder)
    measure("wordllama", WordLlama(), folder)


if __name__ == "__main__":
    main()
