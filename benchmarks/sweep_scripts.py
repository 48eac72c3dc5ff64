"""24 variants of the demo flow with the embedded model, against the same as 24 runs of a script without memory."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from .first_run import ROOT
from .measure import process, python, say
from .sweeps import computed, last, work

AXES = ("prompt=glob(rag_support/*)", "retriever=bm25,chroma,hybrid,langchain", "retriever.k=3,5")
VARIANTS, SCRIPTS = 24, 2


def main(questions: int) -> None:
    asked = [
        "flow=rag_support", f"questions.limit={questions}", "questions.unanswerable=0", "model.max_tokens=48",
        "guardrail=none", *AXES,
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder, env = Path(name), {"LLMOPS_FLOWS_HOME": f"{name}/home"}
        sweep = process(python("-m", "llmops_flows", "-m", *asked), env=env, cwd=name)
        made, distinct = computed(folder), work(folder / "home")
        again = process(python("-m", "llmops_flows", "-m", *asked), env=env, cwd=name)
        rows = (last(folder) / "0/results.jsonl").read_text().splitlines()
        texts = [json.loads(row)["question"] for row in rows]
        script = python(str(ROOT / "benchmarks/plain_rag.py"), str(ROOT / "flows/rag_support/documents"), *texts)
        by_hand = [process(script, cwd=name) for _ in range(SCRIPTS)]
    scripts = VARIANTS * sum(cost.wall for cost in by_hand) / SCRIPTS
    say(
        f"{VARIANTS} variants (3 prompts, 4 retrievers, 2 k) x {questions} questions with the embedded model",
        [
            ("answers by the model, distinct of all", f"{made['model']} of {VARIANTS * questions}"),
            ("the sweep", f"{sweep.wall:.0f} s, {sweep.cpu:.0f} CPU s"),
            ("its distinct work alone, and the ratio", f"{distinct:.0f} s   {sweep.wall / distinct:.2f}"),
            (f"{VARIANTS} runs of a script ({SCRIPTS} were run)", f"{scripts:.0f} s"),
            ("sweep / scripts", f"{sweep.wall / scripts:.2f}"),
            ("the same sweep again", f"{again.wall:.1f} s, {again.cpu:.1f} CPU s"),
        ],
        goal="at most 1.15 of the distinct work",
    )  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
