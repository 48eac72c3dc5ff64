"""How well the evaluators that need no language model agree with people, on labeled sets of others.

The sets lie in the folder that LLMOPS_FLOWS_DATA names (by default `../shared/data`); what is absent is skipped.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llmops_flows.components.evaluator.basic import AnswerRelevance, Correctness
from llmops_flows.core.record import Document
from llmops_flows.text.overlap import is_refusal, numbers, question_coverage, support_score, terms

from .measure import functions, say

DATA = Path(os.environ.get("LLMOPS_FLOWS_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
Pairs = list[tuple[float, float]]
"""Score and label."""


def main() -> None:
    for title, path, measure in (
        ("Groundedness: 430 replies judged by people (BEGIN dev, WoW)", "groundedness/begin_dev_wow.tsv", begin),
        ("Groundedness: handbook answers, and the same spoilt", "rag_northwind/questions.jsonl", spoilt),
        (
            "Correctness: 470 answers marked right or wrong",
            "groundedness/langchain_correctness_meta.jsonl",
            correctness,
        ),
        ("Relevance: TruLens's golden sets", "groundedness/trulens_golden_sets.json", golden),
        ("Context relevance: gold page against the nearest other page", "rag_northwind/questions.jsonl", contexts),
        ("Refusals: 105 replies judged by people (PyRIT)", "safety_refusal/pyrit_refusal.csv", pyrit),
        ("Refusals: human support answers (IBM Cloud)", "rag_ibmcloud/questions.jsonl", ibm),
    ):
        if (DATA / path).is_file():
            say(title, measure(DATA / path))
        else:
            print(f"\n{title}\n  skipped: there is no {path} in {DATA} (LLMOPS_FLOWS_DATA names the folder)")
    say("Speed", speed())


def begin(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    labels = [float(row["begin_label"] == "Fully attributable") for row in rows]
    scores = [support_score(row["response"], [_document(row["knowledge"])]) or 0.0 for row in rows]
    alarms = [not numbers(r["response"]) <= numbers(r["knowledge"]) for r in rows]
    wrong = sum(1 for alarm, label in zip(alarms, labels, strict=True) if alarm and not label)
    return [
        ("AUC", f"{auc(list(zip(scores, labels, strict=True))):.3f}"),
        ("replies with a number that the source does not write", f"{sum(alarms)}, {wrong} of them unattributable"),
    ]


def spoilt(path: Path) -> list[tuple[str, str]]:
    """Reference answers against their own pages; then with one number changed, or one verb denied."""
    chance, found = random.Random(0), {"another number": [], "a verb denied": []}  # type: ignore[var-annotated]
    for row, gold, _ in _northwind(path):
        answer, right = row["answer"], support_score(row["answer"], gold)
        number = next(iter(re.finditer(r"\d[\d,]*", answer)), None)
        verb = re.search(r"\b(?:is|are|will|can|does|must|should)\b(?! not)", answer)
        if number and numbers(answer) <= {n for page in gold for n in numbers(page["page_content"])}:
            text = answer[: number.start()] + str(chance.randint(3000, 9000)) + answer[number.end() :]
            found["another number"].append((right, support_score(text, gold)))
        if verb:
            text = f"{answer[: verb.end()]} not{answer[verb.end() :]}"
            found["a verb denied"].append((right, support_score(text, gold)))
    return [
        (
            f"{name} ({len(pairs)}): AUC against the untouched answer; scored lower",
            f"{auc([(a, 1.0) for a, _ in pairs] + [(b, 0.0) for _, b in pairs]):.3f}   "
            f"{sum(b < a for a, b in pairs) / len(pairs):.0%}",
        )
        for name, pairs in found.items()
    ]


def correctness(path: Path) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    told = []
    for name, prefix in (("web questions", "Web"), ("translations", "Opus")):
        mine = [row for row in rows if row["file"].startswith(prefix)]
        scores = [Correctness().run(row["prediction"], row["reference"])["answer_correctness"] for row in mine]
        pairs = [(s or 0.0, float(row["score"])) for s, row in zip(scores, mine, strict=True)]
        told.append((f"AUC, {len(mine)} {name}", f"{auc(pairs):.3f}"))
    return told


def golden(path: Path) -> list[tuple[str, str]]:
    sets = json.loads(path.read_text(encoding="utf-8"))
    told = []
    for name, rows in sets.items():
        scored = [
            AnswerRelevance().run(row["query"], row["expected_response"])["answer_relevance"]
            if name.startswith("answer")
            else question_coverage(row["query"], [_document(row["expected_response"])])
            for row in rows
        ]
        pairs = [(s or 0.0, float(row["expected_score"])) for s, row in zip(scored, rows, strict=True)]
        told.append((f"rank correlation, {len(rows)} rows of {name}", f"{spearman(pairs):.2f} (noise at this size)"))
    return told


def contexts(path: Path) -> list[tuple[str, str]]:
    pairs: Pairs = []
    for row, gold, other in _northwind(path):
        pairs += [
            (question_coverage(row["question"], gold) or 0.0, 1.0),
            (question_coverage(row["question"], other) or 0.0, 0.0),
        ]
    return [(f"AUC, {len(pairs)} pairs", f"{auc(pairs):.3f}")]


def pyrit(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(itertools.dropwhile(lambda line: line.startswith("#"), file)))
    told = _refusals([(row["assistant_response"], row["human_score"] == "1") for row in rows])
    return [*told, ("", "18 missed: 16 answer something else, and say no nowhere")]


def ibm(path: Path) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    kinds = ("ANSWERABLE", "UNANSWERABLE")
    return _refusals([(r["answer"], r["answerability"] == kinds[1]) for r in rows if r["answerability"] in kinds])


def speed() -> list[tuple[str, str]]:
    passage = "Northwind Standard covers 80 percent of the cost of emergency care, after a deductible of $2,000. " * 8
    documents = [_document(passage) for _ in range(5)]
    answer = "Northwind Standard pays 80% of emergency care. The deductible is $2,000. It does not cover dental care."
    took = functions({"support": lambda: support_score(answer, documents)}, rounds=5, calls=20)
    return [("groundedness of 3 sentences in 5 passages of 800 characters", f"{took['support'] * 1000:.2f} ms")]


def _refusals(rows: Sequence[tuple[str, bool]]) -> list[tuple[str, str]]:
    hits = sum(is_refusal(text) and label for text, label in rows)
    told, there = sum(is_refusal(text) for text, _ in rows), sum(label for _, label in rows)
    return [
        ("precision", f"{hits / told:.3f} ({hits} of {told})"),
        ("recall", f"{hits / there:.3f} ({hits} of {there})"),
    ]


def _northwind(path: Path) -> list[tuple[dict[str, Any], list[Document], list[Document]]]:
    """Each question with its gold pages, and with the other page that has most of the question's words."""
    pages: dict[str, str] = {}
    for line in (path.parent / "documents.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        pages[row["page"]] = f"{pages.get(row['page'], '')} {row['text']}"
    bags = {page: set(terms(page)) for page in pages.values()}
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        gold = [name for name in row["gold_pages"] if name in pages]
        if gold:
            rest = [page for name, page in pages.items() if name not in gold]
            asked = set(terms(row["question"]))
            near = max(rest, key=lambda page: len(asked & bags[page]))
            found.append((row, [_document(pages[name]) for name in gold], [_document(near)]))
    return found


def _document(text: str) -> Document:
    return {"id": "", "page_content": text, "metadata": {}}


def auc(pairs: Pairs) -> float:
    """How often a row labeled 1 scores above one labeled 0; equal scores count half."""
    good, bad = [s for s, label in pairs if label], [s for s, label in pairs if not label]
    return sum((a > b) + (a == b) / 2 for a in good for b in bad) / (len(good) * len(bad))


def spearman(pairs: Pairs) -> float:
    """Correlation of the ranks; equal values share their mean rank."""
    x, y = (_ranks([pair[n] for pair in pairs]) for n in (0, 1))
    mean = (len(pairs) - 1) / 2
    spread: Callable[[list[float]], float] = lambda ranks: sum((r - mean) ** 2 for r in ranks) ** 0.5  # noqa: E731
    return sum((a - mean) * (b - mean) for a, b in zip(x, y, strict=True)) / (spread(x) * spread(y))


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered.index(v) + (ordered.count(v) - 1) / 2 for v in values]


if __name__ == "__main__":
    main()
