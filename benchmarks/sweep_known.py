"""Sweeps whose answers are all known: 500 points, and 24 points compared with 24 empty jobs of a bare Hydra app."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .measure import print_result, process, processes, python
from .startup import bare_app
from .sweeps import last

FLOW = ("flow=rag_support", "model=extractive", "questions.limit=3")
MANY = (
    *FLOW, "retriever=bm25", "retriever.k=range(1,11)", "reranker.count=range(1,11)",
    "guardrail.output.validators.supported.params.share=0.3,0.4,0.5,0.6,0.7",
)  # fmt: skip
FEW = (*FLOW, "prompt=glob(rag_support/*)", "retriever=bm25,chroma", "retriever.k=1,3,5,8")
JOBS = 24


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        env = {"LLMOPS_FLOWS_HOME": f"{folder}/home"}
        app = bare_app(Path(folder))
        many, few = (python("-m", "llmops_flows", "-m", *axes) for axes in (MANY, FEW))
        empty = python(str(app), "-m", f"a=range({JOBS})")
        for command in (many, few):
            process(command, env=env, cwd=folder)
        again = processes({"500": many, "24": few, "bare": empty}, rounds=3, env=env, cwd=folder)
        files = sum(1 for path in last(Path(folder)).rglob("*") if path.is_file())
    point, job = again["500"].cpu / 500, again["bare"].cpu / JOBS
    print_result(
        "Sweeps whose answers are all known",
        [
            ("500 points, CPU each", f"{1000 * point:.1f} ms, {again['500'].peak:.0f} MiB in all"),
            ("Hydra's own sweeper, empty jobs, CPU each", f"{1000 * job:.1f} ms"),
            ("24 points again / 24 empty jobs, wall and CPU",
             f"{again['24'].wall / again['bare'].wall:.2f}   {again['24'].cpu / again['bare'].cpu:.2f}"),
            ("files of the last of these sweeps", str(files)),
        ],
        goal="500: under 10 ms each; 24: ratio under 1",
    )  # fmt: skip


if __name__ == "__main__":
    main()
