"""24 points of the demo flow with the embedded model, compared with 24 runs of a script without a cache."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from .first_run import ROOT
from .measure import print_result, process, python
from .sweeps import computed, last, work

AXES = ("prompt=glob(rag_support/*)", "retriever=bm25,chroma,hybrid,langchain", "retriever.k=3,5")
POINTS, SCRIPTS = 24, 2


def main(questions: int) -> None:
    overrides = [
        "flow=rag_support", f"questions.limit={questions}", "questions.unanswerable=0", "model.max_tokens=48",
        "guardrail=none", *AXES,
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder, env = Path(name), {"LLMOPS_FLOWS_HOME": f"{name}/home"}
        sweep = process(python("-m", "llmops_flows", "-m", *overrides), env=env, cwd=name)
        counts, distinct = computed(folder), work(folder / "home")
        again = process(python("-m", "llmops_flows", "-m", *overrides), env=env, cwd=name)
        rows = (last(folder) / "0/results.jsonl").read_text().splitlines()
        texts = [json.loads(row)["question"] for row in rows]
        script = python(str(ROOT / "benchmarks/plain_rag.py"), str(ROOT / "flows/rag_support/documents"), *texts)
        script_runs = [process(script, cwd=name) for _ in range(SCRIPTS)]
    scripts = POINTS * sum(cost.wall for cost in script_runs) / SCRIPTS
    print_result(
        f"{POINTS} points (3 prompts, 4 retrievers, 2 k) x {questions} questions with the embedded model",
        [
            ("answers computed by the model, of all", f"{counts['model']} of {POINTS * questions}"),
            ("the sweep", f"{sweep.wall:.0f} s, {sweep.cpu:.0f} CPU s"),
            ("its distinct work alone, and the ratio", f"{distinct:.0f} s   {sweep.wall / distinct:.2f}"),
            (f"{POINTS} runs of a script (extrapolated from {SCRIPTS})", f"{scripts:.0f} s"),
            ("sweep / scripts", f"{sweep.wall / scripts:.2f}"),
            ("the same sweep again", f"{again.wall:.1f} s, {again.cpu:.1f} CPU s"),
        ],
        goal="at most 1.15 of the distinct work",
    )  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
