"""The first run of one question without a cache, compared with a script of the same parts."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from .measure import Cost, print_result, process, python

ROOT = Path(__file__).parent.parent
QUESTION = "What does Northwind Standard cover for emergency care?"


def main() -> None:
    plain = python(str(Path(__file__).parent / "plain_rag.py"), str(ROOT / "flows/rag_support/documents"), QUESTION)
    flow = python("-m", "llmops_flows", "flow=rag_support", f"question={QUESTION}")
    costs: dict[str, list[Cost]] = {"script": [], "first run": []}
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            costs["script"].append(process(plain, cwd=folder))
            costs["first run"].append(process(flow, env={"LLMOPS_FLOWS_HOME": f"{folder}/home"}, cwd=folder))
    wall = {name: statistics.median(c.wall for c in runs) for name, runs in costs.items()}
    cpu = {name: statistics.median(c.cpu for c in runs) for name, runs in costs.items()}
    print_result(
        "First run, one question: index built, model loaded, guarded, scored, traced",
        [
            ("the same libraries, wired by hand", f"{wall['script']:.1f} s, {cpu['script']:.1f} CPU"),
            ("llmops_flows flow=rag_support question=…", f"{wall['first run']:.1f} s, {cpu['first run']:.1f} CPU"),
            ("ratio of wall, CPU",
             f"{wall['first run'] / wall['script']:.2f}   {cpu['first run'] / cpu['script']:.2f}"),
        ],
        goal="wall at most 0.5",
    )  # fmt: skip


if __name__ == "__main__":
    main()
