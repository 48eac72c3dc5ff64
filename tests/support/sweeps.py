"""Small sweeps as plain data, for the tests of the reports."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llmops_flows.report.saved_runs import SavedRun


def row(id: str, *, answer: str = "yes", error: str | None = None, **scores: Any) -> dict[str, Any]:
    """One line of results.jsonl."""
    return {
        "id": id, "sample": None, "question": f"What about {id}?", "answer": None if error else answer,
        "reference": "yes", "error": error, "ended": None, "scores": {} if error else scores, "verdicts": {},
        "usage": {}, "full_usage": {"input_tokens": 100, "output_tokens": 10, "cost_usd": 0.001},
        "stages": {"retrieve": "known", "model": "computed", "correctness": "computed"},
        "took": {"retrieve": 0.1, "model": 0.4, "correctness": 3.0}, "seconds": 3.4,
    }  # fmt: skip


def saved_run(
    name: str, scores: Sequence[float | None], *, metric: str = "answer_correctness", **options: Any
) -> SavedRun:
    """A variant that was scored so on the questions q0, q1 …"""
    config = options.pop("config", {"evaluator": {"correctness": {}}, "stages": {"retrieve": {}, "model": {}}})
    rows = [row(f"q{n}", answer=f"{name} says {score}", **{metric: score}) for n, score in enumerate(scores)]
    return SavedRun(name, config=config, rows=rows, **options)


def sweep(
    variants: int, questions: int, metrics: Sequence[str] = ("answer_correctness",), *, seed: int = 0,
    score: Callable[[random.Random, int], float] = lambda chance, n: chance.random(),
) -> list[SavedRun]:  # fmt: skip
    """A sweep over retriever and k whose scores are drawn."""
    chance = random.Random(seed)
    found = []
    for v in range(variants):
        retriever = {"_target_": f"shop.{('Words', 'Meaning', 'Both')[v % 3]}", "k": 2 + v // 3}
        config = {"retriever": retriever, "stages": {"retrieve": retriever}, "evaluator": {"correctness": {}}}
        rows = [row(f"q{q}", answer=f"{v % 7} of {q}", **_drawn(metrics, chance, v, score)) for q in range(questions)]
        found.append(SavedRun(str(v), config=config, rows=rows))
    return found


def _drawn(
    metrics: Sequence[str], chance: random.Random, v: int, score: Callable[[random.Random, int], float]
) -> Mapping[str, float]:
    return {metric: score(chance, v) for metric in metrics}
