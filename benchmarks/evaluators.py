"""The agreement of the evaluators without a language model with human labels, on public data sets.

The data sets are in the folder LLMOPS_FLOWS_DATA (by default `../shared/data`). Missing ones are skipped.
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

from .measure import functions, print_result

DATA = Path(os.environ.get("LLMOPS_FLOWS_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
Pairs = list[tuple[float, float]]
"""Score and label."""


def main() -> None:
    for title, path, measure in (
        ("Groundedness: 430 replies with human labels (BEGIN dev, WoW)", "groundedness/begin_dev_wow.tsv", begin),
        ("Groundedness: handbook answers, and the same with an error", "rag_northwind/questions.jsonl", with_errors),
        (
            "Correctness: 470 answers marked right or wrong",
            "groundedness/langchain_correctness_meta.jsonl",
            correctness,
        ),
        ("Relevance: TruLens's golden sets", "groundedness/trulens_golden_sets.json", golden),
        ("Context relevance: gold page against the nearest other page", "rag_northwind/questions.jsonl", contexts),
        ("Refusals: 105 replies with human labels (PyRIT)", "safety_refusal/pyrit_refusal.csv", pyrit),
        ("Refusals: human support answers (IBM Cloud)", "rag_ibmcloud/questions.jsonl", ibm),
    ):
        if (DATA / path).is_file():
            print_result(title, measure(DATA / path))
        else:
            print(f"\n{title}\n  skipped: {path} not found in {DATA} (set LLMOPS_FLOWS_DATA)")
    print_result("Speed", speed())


def begin(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    labels = [float(row["begin_label"] == "Fully attributable") for row in rows]
    scores = [support_score(row["response"], [_document(row["knowledge"])]) or 0.0 for row in rows]
    alarms = [not numbers(r["response"]) <= numbers(r["knowledge"]) for r in rows]
    wrong = sum(1 for alarm, label in zip(alarms, labels, strict=True) if alarm and not label)
    return [
        ("AUC", f"{auc(list(zip(scores, labels, strict=True))):.3f}"),
        ("replies with a number that is not in the source", f"{sum(alarms)}, {wrong} of them unattributable"),
    ]


def with_errors(path: Path) -> list[tuple[str, str]]:
    """Reference answers against their own pages, unchanged, with another number, and with a negated verb."""
    rng = random.Random(0)
    pairs_of: dict[str, list[tuple[Any, Any]]] = {"another number": [], "a negated verb": []}
    for row, gold, _ in _northwind(path):
        answer, right = row["answer"], support_score(row["answer"], gold)
        number = next(iter(re.finditer(r"\d[\d,]*", answer)), None)
        verb = re.search(r"\b(?:is|are|will|can|does|must|should)\b(?! not)", answer)
        if number and numbers(answer) <= {n for page in gold for n in numbers(page["page_content"])}:
            text = answer[: number.start()] + str(rng.randint(3000, 9000)) + answer[number.end() :]
            pairs_of["another number"].append((right, support_score(text, gold)))
        if verb:
            text = f"{answer[: verb.end()]} not{answer[verb.end() :]}"
            pairs_of["a negated verb"].append((right, support_score(text, gold)))
    return [
        (
            f"{name} ({len(pairs)}): AUC against the unchanged answer; scored lower",
            f"{auc([(a, 1.0) for a, _ in pairs] + [(b, 0.0) for _, b in pairs]):.3f}   "
            f"{sum(b < a for a, b in pairs) / len(pairs):.0%}",
        )
        for name, pairs in pairs_of.items()
    ]


def correctness(path: Path) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    results = []
    for name, prefix in (("web questions", "Web"), ("translations", "Opus")):
        selected = [row for row in rows if row["file"].startswith(prefix)]
        scores = [Correctness().run(row["prediction"], row["reference"])["answer_correctness"] for row in selected]
        pairs = [(s or 0.0, float(row["score"])) for s, row in zip(scores, selected, strict=True)]
        results.append((f"AUC, {len(selected)} {name}", f"{auc(pairs):.3f}"))
    return results


def golden(path: Path) -> list[tuple[str, str]]:
    sets = json.loads(path.read_text(encoding="utf-8"))
    results = []
    for name, rows in sets.items():
        scored = [
            AnswerRelevance().run(row["query"], row["expected_response"])["answer_relevance"]
            if name.startswith("answer")
            else question_coverage(row["query"], [_document(row["expected_response"])])
            for row in rows
        ]
        pairs = [(s or 0.0, float(row["expected_score"])) for s, row in zip(scored, rows, strict=True)]
        results.append((f"rank correlation, {len(rows)} rows of {name}", f"{spearman(pairs):.2f} (noise at this size)"))
    return results


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
    results = _refusals([(row["assistant_response"], row["human_score"] == "1") for row in rows])
    return [*results, ("", "18 missed: 16 of them answer another question without a refusal")]


def ibm(path: Path) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    kinds = ("ANSWERABLE", "UNANSWERABLE")
    return _refusals([(r["answer"], r["answerability"] == kinds[1]) for r in rows if r["answerability"] in kinds])


def speed() -> list[tuple[str, str]]:
    passage = "Northwind Standard covers 80 percent of the cost of emergency care, after a deductible of $2,000. " * 8
    documents = [_document(passage) for _ in range(5)]
    answer = "Northwind Standard pays 80% of emergency care. The deductible is $2,000. It does not cover dental care."
    seconds = functions({"support": lambda: support_score(answer, documents)}, rounds=5, calls=20)
    return [("groundedness of 3 sentences in 5 passages of 800 characters", f"{seconds['support'] * 1000:.2f} ms")]


def _refusals(rows: Sequence[tuple[str, bool]]) -> list[tuple[str, str]]:
    hits = sum(is_refusal(text) and label for text, label in rows)
    predicted, labeled = sum(is_refusal(text) for text, _ in rows), sum(label for _, label in rows)
    return [
        ("precision", f"{hits / predicted:.3f} ({hits} of {predicted})"),
        ("recall", f"{hits / labeled:.3f} ({hits} of {labeled})"),
    ]


def _northwind(path: Path) -> list[tuple[dict[str, Any], list[Document], list[Document]]]:
    """Each question with its gold pages, and with the other page that shares most words with the question."""
    pages: dict[str, str] = {}
    for line in (path.parent / "documents.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        pages[row["page"]] = f"{pages.get(row['page'], '')} {row['text']}"
    page_terms = {page: set(terms(page)) for page in pages.values()}
    examples = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        gold = [name for name in row["gold_pages"] if name in pages]
        if gold:
            others = [page for name, page in pages.items() if name not in gold]
            question_terms = set(terms(row["question"]))
            nearest = max(others, key=lambda page: len(question_terms & page_terms[page]))
            examples.append((row, [_document(pages[name]) for name in gold], [_document(nearest)]))
    return examples


def _document(text: str) -> Document:
    return {"id": "", "page_content": text, "metadata": {}}


def auc(pairs: Pairs) -> float:
    """The probability that a row labeled 1 scores higher than a row labeled 0; ties count half."""
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
