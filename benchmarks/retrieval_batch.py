"""Retrieval for 200 questions in one batch, compared with one question at a time: CPU time of the process."""

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

from .measure import print_result

COUNT = 200
ROUNDS = 9


def questions() -> list[str]:
    """Distinct real questions."""
    folder = flow_dir("rag_support")
    assert folder is not None
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    return list(dict.fromkeys(row["question"] for row in rows))[:COUNT]


def seconds(retriever: Stage, texts: Sequence[str], home: Path, *, batch: bool) -> tuple[float, list[Any]]:
    """CPU seconds of a run over the questions, with an empty answer store."""
    flow = Flow(stages={"retrieve": retriever})
    records = [Record.of(str(n), {"question": text}) for n, text in enumerate(texts)]
    with tempfile.TemporaryDirectory() as folder:
        store = SQLiteStore(Path(folder) / "store.sqlite")
        store.put({}, {})
        with Runner(store=store, home=home) as runner:
            start = time.process_time()
            for group in [records] if batch else [[record] for record in records]:
                runner.run(flow, group, only=("documents",))
            spent = time.process_time() - start
        store.close()
    return spent, [[d["id"] for d in record.get("documents")] for record in records]


def without_runner(retriever: Retriever, texts: Sequence[str], home: Path, *, batch: bool) -> tuple[float, list[Any]]:
    """CPU seconds of embedding and searching, without lookup, storage and tracing by the runner."""
    with tempfile.TemporaryDirectory() as folder:
        store = SQLiteStore(Path(folder) / "store.sqlite")
        store.put({}, {})  # creates the file, which is not part of the measurement
        call = Call(home=home, store=store)
        start = time.process_time()
        groups = [texts] if batch else [[question] for question in texts]
        results = [passages for group in groups for passages in retriever.retrieve(group, call)]
        spent = time.process_time() - start
        store.close()
    return spent, [[d["id"] for d in passages] for passages in results]


def measure(name: str, home: Path, *overrides: str) -> None:
    retriever: Any = dict(load_experiment("flow=rag_support", *overrides).flow.leaves())["retrieve"]
    texts = questions()
    seconds(retriever, ["warm up"], home, batch=True)  # builds the index and loads the model
    for level, work in (("embedded and searched", without_runner), ("and looked up, stored and decoded", seconds)):
        best: dict[bool, float] = {True: float("inf"), False: float("inf")}
        ids: dict[bool, list[Any]] = {}
        for _ in range(ROUNDS):
            for batch in (True, False):
                spent, ids[batch] = work(retriever, texts, home, batch=batch)
                best[batch] = min(best[batch], spent)
        same = sum(batched == single for batched, single in zip(ids[True], ids[False], strict=True))
        rows = [
            ("in one batch", f"{best[True] * 1e3:.0f} CPU ms"),
            ("one by one", f"{best[False] * 1e3:.0f} CPU ms"),
            ("one by one / batch", f"{best[False] / best[True]:.1f}"),
            ("questions with the same passages", f"{same} of {len(texts)}"),
        ]
        print_result(
            f"{len(texts)} questions through {name}, {level}", rows, goal="at least 5" if work is without_runner else ""
        )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        measure("chroma (default embedder)", home, "retriever=chroma")
        measure("hybrid (default embedder)", home, "retriever=hybrid")
        measure("bm25", home, "retriever=bm25")


if __name__ == "__main__":
    main()
