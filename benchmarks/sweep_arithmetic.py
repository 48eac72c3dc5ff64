"""The computations of 288 points x 50 questions: each index, retrieval and answer is computed once."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from .measure import print_result, process, python
from .sweeps import computed

QUESTIONS = 50
MODEL = "_target_: llmops_flows.testing.fakes.CountedModel\nname: one\nlog: calls.txt\n"
EVALUATOR = """
from llmops_flows.core.roles import Evaluator

class Length(Evaluator):
    words: int = 50

    def run(self, answer: str) -> dict[str, float]:
        return {"length": min(1.0, len(answer.split()) / self.words)}
"""
AXES = (
    "flow=rag_support", f"questions.limit={QUESTIONS}", "model=counted", "retriever=chroma",
    "guardrail.input=null", "guardrail.context=null",
    "splitter.size=300,600,1200", "embedder.dimensions=64,256", "retriever.k=2,3,4,5", "prompt=glob(rag_support/*)",
    "trust=[scoring]", "+evaluator.length={_target_: scoring.Length, words: 50}",
    "model.name=one,two", "guardrail.output.validators.supported.params.share=0.3,0.7",
)  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "conf/model").mkdir(parents=True)
        (folder / "conf/model/counted.yaml").write_text(MODEL)
        (folder / "scoring.py").write_text(EVALUATOR)
        rows = [
            _row("first run", folder),
            _row("the same again", folder),
            _row("with a changed evaluator", folder, "evaluator.length.words=20"),
        ]
    print_result(
        f"288 points (3 splitters, 2 embedders, 4 k, 3 prompts, 2 models, 2 guardrails) x {QUESTIONS} questions",
        [("", f"{'indexes':>9}{'retrievals':>12}{'calls':>9}{'scores':>9}{'CPU s':>9}"), *rows],
        goal="6, 1200, at most 7200; then 0, 0, 0; then no call",
    )


def _row(title: str, folder: Path, *more: str) -> tuple[str, str]:
    def counts() -> Sequence[int]:
        calls, artifacts = folder / "calls.txt", folder / "home/artifacts"
        indexes = len([path for path in artifacts.glob("*/*") if path.is_dir()])
        return indexes, len(calls.read_text().splitlines()) if calls.exists() else 0

    indexes_before, calls_before = counts()
    command = python("-m", "llmops_flows", "-m", *AXES, *more)
    cost = process(command, cwd=str(folder), env={"LLMOPS_FLOWS_HOME": f"{folder}/home"})
    stages = computed(folder)
    indexes, calls = counts()
    return (
        title,
        f"{indexes - indexes_before:>9}{stages['retrieve']:>12}{calls - calls_before:>9}"
        f"{stages['length']:>9}{cost.cpu:>9.1f}",
    )


if __name__ == "__main__":
    main()
