"""200 questions through retrieval in one batch, against the same questions one by one: CPU time of the process."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmops_flows import Flow, Record, Runner
from llmops_flows.config.files.paths import flow_dir
from llmops_flows.config.load import load_experiment
from llmops_flows.core.roles import Retriever
from llmops_flows.core.stage import Call, Stage
from llmops_flows.stores.sqlite_store import SQLiteStore

from .measure import say

COUNT = 200
ROUNDS = 9


def questions() -> list[str]:
    """Real questions, none twice."""
    folder = flow_dir("rag_support")
    assert folder is not None
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    return list(dict.fromkeys(row["question"] for row in rows))[:COUNT]


def seconds(retriever: Stage, asked: Sequence[str], home: Path, *, batch: bool) -> tuple[float, list[Any]]:
    """CPU seconds of the questions through the runner, with an answer store in which none of them is known."""
    flow = Flow(stages={"retrieve": retriever})
    records = [Record.of(str(n), {"question": text}) for n, text in enumerate(asked)]
    with tempfile.TemporaryDirectory() as folder:
        store = SQLiteStore(Path(folder) / "store.sqlite")
        store.put({}, {})
        with Runner(store=store, home=home) as runner:
            begun = time.process_time()
            for group in [records] if batch else [[record] for record in records]:
                runner.run(flow, group, only=("documents",))
            spent = time.process_time() - begun
        store.close()
    return spent, [[d["id"] for d in record.get("documents")] for record in records]


def alone(retriever: Retriever, asked: Sequence[str], home: Path, *, batch: bool) -> tuple[float, list[Any]]:
    """CPU seconds of embedding and searching, without the runner that looks up, keeps and traces."""
    with tempfile.TemporaryDirectory() as folder:
        store = SQLiteStore(Path(folder) / "store.sqlite")
        store.put({}, {})  # the file is made, as it is once for all runs
        call = Call(home=home, store=store)
        begun = time.process_time()
        groups = [asked] if batch else [[question] for question in asked]
        found = [passages for group in groups for passages in retriever.retrieve(group, call)]
        spent = time.process_time() - begun
        store.close()
    return spent, [[d["id"] for d in passages] for passages in found]


def measure(name: str, home: Path, *overrides: str) -> None:
    retriever: Any = dict(load_experiment("flow=rag_support", *overrides).flow.leaves())["retrieve"]
    asked = questions()
    seconds(retriever, ["warm up"], home, batch=True)  # the index is built, the model loaded
    for level, work in (("embedded and searched", alone), ("and looked up, kept and decoded", seconds)):
        best: dict[bool, float] = {True: float("inf"), False: float("inf")}
        found: dict[bool, list[Any]] = {}
        for _ in range(ROUNDS):
            for batch in (True, False):
                spent, found[batch] = work(retriever, asked, home, batch=batch)
                best[batch] = min(best[batch], spent)
        same = sum(one == other for one, other in zip(found[True], found[False], strict=True))
        rows = [
            ("in one batch", f"{best[True] * 1e3:.0f} CPU ms"),
            ("one by one", f"{best[False] * 1e3:.0f} CPU ms"),
            ("one by one / batch", f"{best[False] / best[True]:.1f}"),
            ("the same passages found", f"{same} of {len(asked)}"),
        ]
        say(f"{len(asked)} questions through {name}, {level}", rows, goal="at least 5" if work is alone else "")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        measure("chroma (default embedder)", home, "retriever=chroma")
        measure("hybrid (default embedder)", home, "retriever=hybrid")
        measure("bm25", home, "retriever=bm25")


if __name__ == "__main__":
    main()
